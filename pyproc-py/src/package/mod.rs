//! What the native core uses of the Python package, looked up once.

mod functions;
mod lazy_import;
mod limits;

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use pyproc_protocol::v2::Failure;

pub(crate) use self::functions::{Function, FunctionId, Functions};
pub(crate) use self::lazy_import::Lazy;
pub(crate) use self::limits::Limits;

static STANDARD_CODEC: Lazy = Lazy::new("pyproc_worker._codec", "StandardCodec");
static DEFERRED: Lazy = Lazy::new("pyproc_worker._deferred", "Deferred");
static RAW: Lazy = Lazy::new("pyproc_worker._plain", "raw");
static LOG_ERROR: Lazy = Lazy::new("pyproc_worker._log", "error");
static LOG_STRAY: Lazy = Lazy::new("pyproc_worker._stray", "log_stray");
static LOG_DEBUG: Lazy = Lazy::new("pyproc_worker._log", "debug");

/// Objects of the package.
pub(crate) struct Package {
    functions: Py<PyDict>,
    table: Py<PyAny>,
    introduction: Py<PyAny>,
    error_parts: Py<PyAny>,
    workers_own: Py<PyAny>,
    errors: Py<PyAny>,
    cancel: Py<PyAny>,
    gc: Py<PyAny>,
}

impl Package {
    pub(crate) fn import(py: Python<'_>) -> PyResult<Self> {
        let registry = py.import("pyproc_worker._registry")?;
        let hello = py.import("pyproc_worker._hello")?;
        let errors = py.import("pyproc_worker._errors")?;
        Ok(Self {
            functions: registry.getattr("functions")?.cast_into()?.unbind(),
            table: hello.getattr("table")?.unbind(),
            introduction: hello.getattr("introduction")?.unbind(),
            error_parts: errors.getattr("error_parts")?.unbind(),
            workers_own: errors.getattr("WORKERS_OWN")?.unbind(),
            cancel: py.import("pyproc_worker._cancel")?.into_any().unbind(),
            gc: py.import("gc")?.into_any().unbind(),
            errors: errors.into_any().unbind(),
        })
    }

    /// What is exposed, in the order of exposure, but for the first `known`.
    pub(crate) fn exposed_from<'py>(
        &self,
        py: Python<'py>,
        known: usize,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let exposed = self.functions.bind(py).values();
        (known..exposed.len())
            .map(|at| exposed.get_item(at))
            .collect()
    }

    /// The name of what was exposed after so many others.
    pub(crate) fn name_of<'py>(
        &self,
        py: Python<'py>,
        place: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let exposed = self.functions.bind(py).values().get_item(place)?;
        exposed.getattr(intern!(py, "name"))
    }

    /// The names of the functions that a hello lists at this moment, in its order.
    pub(crate) fn table(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let table: Vec<Bound<'_, PyAny>> = self.table.bind(py).call0()?.extract()?;
        table
            .iter()
            .map(|exposed| exposed.getattr("name")?.extract())
            .collect()
    }

    /// What the worker says of itself in a hello.
    pub(crate) fn introduction<'py>(
        &self,
        py: Python<'py>,
        features: Vec<&str>,
        schemas: bool,
        version: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.introduction
            .bind(py)
            .call1((features, schemas, version))
    }

    /// The exception as a client is told it.
    pub(crate) fn failure(&self, py: Python<'_>, error: &PyErr) -> PyResult<Failure> {
        let parts = self.error_parts.bind(py).call1((exception(py, error),))?;
        let (type_name, message, traceback) = parts.extract()?;
        Ok(Failure {
            type_name,
            message,
            traceback,
            retryable: false,
        })
    }

    /// Whether a function has returned what is to be awaited.
    pub(crate) fn is_deferred(&self, py: Python<'_>, error: &PyErr) -> bool {
        let deferred = DEFERRED.get(py);
        deferred.is_ok_and(|deferred| error.is_instance(py, deferred))
    }

    /// What begins the rest of a call that raised `Deferred`. Raises any other error.
    pub(crate) fn deferred<'py>(
        &self,
        py: Python<'py>,
        error: PyErr,
    ) -> PyResult<Bound<'py, PyAny>> {
        if !self.is_deferred(py, &error) {
            return Err(error);
        }
        error.value(py).getattr("start")
    }

    /// Whether an exception is the worker's own way to refuse a request.
    pub(crate) fn is_workers_own(&self, py: Python<'_>, error: &PyErr) -> bool {
        error.is_instance(py, self.workers_own.bind(py))
    }

    /// Logs a failure that nobody else would see the traceback of.
    pub(crate) fn log_failure(&self, py: Python<'_>, method: &str, error: &PyErr) -> PyResult<()> {
        let text = format!("error in {}", PyString::new(py, method).repr()?);
        LOG_ERROR.get(py)?.call1((text, exception(py, error)))?;
        Ok(())
    }

    /// Logs an exception that came between calls.
    pub(crate) fn log_stray(&self, py: Python<'_>, error: &PyErr) -> PyResult<()> {
        LOG_STRAY.get(py)?.call1((exception(py, error),))?;
        Ok(())
    }

    /// Logs what went wrong with the worker itself.
    pub(crate) fn log_error(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        LOG_ERROR.get(py)?.call1((text,))?;
        Ok(())
    }

    /// Logs for those who look for an error.
    pub(crate) fn log_debug(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        LOG_DEBUG.get(py)?.call1((text,))?;
        Ok(())
    }

    /// An exception of `pyproc_worker._errors`.
    pub(crate) fn error<'py>(
        &self,
        py: Python<'py>,
        kind: &str,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> PyErr {
        match self
            .errors
            .bind(py)
            .getattr(kind)
            .and_then(|kind| kind.call1(arguments))
        {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    }

    /// What Python's own reader makes of a JSON document: the value, or the error that says what is
    /// wrong.
    pub(crate) fn decode_slowly<'py>(
        &self,
        py: Python<'py>,
        json: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        let codec = STANDARD_CODEC.get(py)?.call0()?;
        codec.call_method1("decode_body", (PyBytes::new(py, json),))
    }

    pub(crate) fn decode_message_pack<'py>(
        &self,
        py: Python<'py>,
        payload: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        py.import(intern!(py, "pyproc_worker._msgpack"))?
            .call_method1(intern!(py, "loads"), (payload,))
    }

    pub(crate) fn encode_message_pack<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        maximum: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = value.py();
        let encoded = py
            .import(intern!(py, "pyproc_worker._msgpack"))?
            .call_method1(intern!(py, "dumps"), (value, maximum))?;
        Ok(encoded.cast_into()?)
    }

    /// The bytes of a result that is all bytes.
    pub(crate) fn raw<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        maximum: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(bytes.clone());
        }
        Ok(RAW.get(value.py())?.call1((value, maximum))?.cast_into()?)
    }

    /// A new `threading.Event`.
    pub(crate) fn event<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import(intern!(py, "threading"))?
            .call_method0(intern!(py, "Event"))
    }

    /// `call`, with `event` as the `cancel_event` of its function.
    pub(crate) fn with_event<'py>(
        &self,
        call: Bound<'py, PyAny>,
        event: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = call.py();
        let keywords = PyDict::new(py);
        keywords.set_item("event", event)?;
        let call_with_event = self.cancel.bind(py).getattr("call_with_event")?;
        partial(PyTuple::new(py, [call_with_event, call])?, Some(&keywords))
    }

    /// A `Stopwatch`, and `call` measured by it.
    pub(crate) fn measured<'py>(
        &self,
        call: Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = call.py();
        let watch = py
            .import("pyproc_worker._times")?
            .call_method0("Stopwatch")?;
        let arguments = PyTuple::new(py, [watch.getattr("run_async")?, call])?;
        Ok((watch, partial(arguments, None)?))
    }

    /// Keeps the garbage collector from looking at a document over and over while it is read.
    /// Nothing but our own code may run until the result is dropped.
    pub(crate) fn pause_collector<'py>(&self, py: Python<'py>) -> PausedCollector<'py> {
        let gc = self.gc.bind(py).clone();
        let was_enabled = gc
            .call_method0(intern!(py, "isenabled"))
            .and_then(|enabled| enabled.is_truthy())
            .unwrap_or(false)
            && gc.call_method0(intern!(py, "disable")).is_ok();
        PausedCollector { gc, was_enabled }
    }

    /// Ends a process that a function forked.
    pub(crate) fn leave(&self, py: Python<'_>, error: Option<&PyErr>) -> PyErr {
        let error = error.map(|error| exception(py, error));
        let error = error.unwrap_or_else(|| py.None().into_bound(py));
        let left = py
            .import("pyproc_worker._fork")
            .and_then(|fork| fork.call_method1("leave", (error,)));
        match left {
            Err(error) => error,
            Ok(_) => pyo3::exceptions::PySystemExit::new_err(0),
        }
    }
}

/// Whether an exception ends the worker, whoever raised it.
pub(crate) fn ends_worker(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// The exception with its traceback, which older Pythons keep apart.
fn exception<'py>(py: Python<'py>, error: &PyErr) -> Bound<'py, PyAny> {
    error.clone_ref(py).into_value(py).into_bound(py).into_any()
}

pub(crate) fn partial<'py>(
    arguments: Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let functools = arguments.py().import("functools")?;
    functools.getattr("partial")?.call(arguments, keywords)
}

/// Lets the collector go on when it is dropped, if it was on before.
pub(crate) struct PausedCollector<'py> {
    gc: Bound<'py, PyAny>,
    was_enabled: bool,
}

impl Drop for PausedCollector<'_> {
    fn drop(&mut self) {
        if self.was_enabled {
            // Without arguments, and of a module that is loaded, it cannot fail.
            let _ = self.gc.call_method0(intern!(self.gc.py(), "enable"));
        }
    }
}
