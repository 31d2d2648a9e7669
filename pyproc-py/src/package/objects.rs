//! Functions and classes of the Python package, looked up once.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use pyproc_protocol::Failure;

use super::collector::PausedCollector;
use super::lazy_import::LazyImport;

static STANDARD_CODEC: LazyImport =
    LazyImport::new("pyproc_worker._codec.json_codec", "StandardCodec");
static DEFERRED: LazyImport = LazyImport::new("pyproc_worker._calls.deferred", "Deferred");
static RAW: LazyImport = LazyImport::new("pyproc_worker._codec.results", "raw");
static LOG_ERROR: LazyImport = LazyImport::new("pyproc_worker._log", "error");
static LOG_ASYNC_EXCEPTION: LazyImport = LazyImport::new(
    "pyproc_worker._system.async_exceptions",
    "log_async_exception",
);
static LOG_DEBUG: LazyImport = LazyImport::new("pyproc_worker._log", "debug");

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
        let registry = py.import("pyproc_worker._functions.registry")?;
        let hello = py.import("pyproc_worker._functions.hello")?;
        let errors = py.import("pyproc_worker._errors")?;
        Ok(Self {
            functions: registry.getattr("functions")?.cast_into()?.unbind(),
            table: hello.getattr("table")?.unbind(),
            introduction: hello.getattr("introduction")?.unbind(),
            error_parts: errors.getattr("error_parts")?.unbind(),
            workers_own: errors.getattr("WORKERS_OWN")?.unbind(),
            cancel: py
                .import("pyproc_worker._calls.cancel")?
                .into_any()
                .unbind(),
            gc: py.import("gc")?.into_any().unbind(),
            errors: errors.into_any().unbind(),
        })
    }

    /// The exposed functions in the order of exposure, without the first `known`.
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

    /// The name of the function that was exposed after `position` others.
    pub(crate) fn name_of<'py>(
        &self,
        py: Python<'py>,
        position: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let exposed = self.functions.bind(py).values().get_item(position)?;
        exposed.getattr(intern!(py, "name"))
    }

    /// The names of the functions that the answer to a hello lists at this moment, in its order.
    pub(crate) fn table(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let table: Vec<Bound<'_, PyAny>> = self.table.bind(py).call0()?.extract()?;
        table
            .iter()
            .map(|exposed| exposed.getattr("name")?.extract())
            .collect()
    }

    /// The body of the answer to a hello.
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

    /// The exception as a client gets it.
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

    /// Whether a plain function returned an awaitable.
    pub(crate) fn is_deferred(&self, py: Python<'_>, error: &PyErr) -> bool {
        let deferred = DEFERRED.get(py);
        deferred.is_ok_and(|deferred| error.is_instance(py, deferred))
    }

    /// The callable that starts the rest of a call on the event loop, if the error is `Deferred`. Raises any other error.
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

    /// Whether an exception is one by which the worker itself refuses a request.
    pub(crate) fn is_workers_own(&self, py: Python<'_>, error: &PyErr) -> bool {
        error.is_instance(py, self.workers_own.bind(py))
    }

    /// Logs an error whose traceback the client does not get.
    pub(crate) fn log_failure(&self, py: Python<'_>, method: &str, error: &PyErr) -> PyResult<()> {
        let text = format!("error in {}", PyString::new(py, method).repr()?);
        LOG_ERROR.get(py)?.call1((text, exception(py, error)))?;
        Ok(())
    }

    /// Logs an exception that was raised between calls.
    pub(crate) fn log_async_exception(&self, py: Python<'_>, error: &PyErr) -> PyResult<()> {
        LOG_ASYNC_EXCEPTION
            .get(py)?
            .call1((exception(py, error),))?;
        Ok(())
    }

    /// Logs an error of the worker itself.
    pub(crate) fn log_error(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        LOG_ERROR.get(py)?.call1((text,))?;
        Ok(())
    }

    /// Logs a message for debugging.
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

    /// Reads a JSON document by Python's own reader. Raises the error that says what is
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
        py.import(intern!(py, "pyproc_worker._codec.messagepack"))?
            .call_method1(intern!(py, "loads"), (payload,))
    }

    pub(crate) fn encode_message_pack<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        maximum: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = value.py();
        let encoded = py
            .import(intern!(py, "pyproc_worker._codec.messagepack"))?
            .call_method1(intern!(py, "dumps"), (value, maximum))?;
        Ok(encoded.cast_into()?)
    }

    /// The bytes of a binary result.
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

    /// A `Stopwatch`, and a callable that measures `call` by it.
    pub(crate) fn measured<'py>(
        &self,
        call: Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let py = call.py();
        let stopwatch = py
            .import("pyproc_worker._calls.times")?
            .call_method0("Stopwatch")?;
        let arguments = PyTuple::new(py, [stopwatch.getattr("run_async")?, call])?;
        Ok((stopwatch, partial(arguments, None)?))
    }

    /// Pauses the garbage collector while a document is read; otherwise it would traverse the document again and again.
    /// Only code of this crate may run until the result is dropped.
    pub(crate) fn pause_collector<'py>(&self, py: Python<'py>) -> PausedCollector<'py> {
        PausedCollector::pause(self.gc.bind(py).clone())
    }

    /// Ends this process, which a function forked.
    pub(crate) fn leave(&self, py: Python<'_>, error: Option<&PyErr>) -> PyErr {
        let error = error.map(|error| exception(py, error));
        let error = error.unwrap_or_else(|| py.None().into_bound(py));
        let left = py
            .import("pyproc_worker._system.fork")
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

/// The exception with its traceback, which older Pythons keep apart from it.
fn exception<'py>(py: Python<'py>, error: &PyErr) -> Bound<'py, PyAny> {
    error.clone_ref(py).into_value(py).into_bound(py).into_any()
}

/// `functools.partial` of these arguments.
pub(crate) fn partial<'py>(
    arguments: Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let functools = arguments.py().import("functools")?;
    functools.getattr("partial")?.call(arguments, keywords)
}
