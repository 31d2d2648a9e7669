//! What may be known of a call while it runs; see `pyproc_worker._call`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use pyproc_protocol::Headers;
use pyproc_protocol::v2::TraceContext;

use crate::connection::{Client, Known};
use crate::ffi;
use crate::lazy::Lazy;
use crate::package::partial;
use crate::state::{Core, Place};

static RUN: Lazy = Lazy::new("pyproc_worker._call", "run");
static RUN_ASYNC: Lazy = Lazy::new("pyproc_worker._call", "run_async");
static CALL: Lazy = Lazy::new("pyproc_worker._call", "Call");
static MODULE: Lazy = Lazy::new("pyproc_worker", "_call");
static SET: Lazy = Lazy::new("pyproc_worker._call", "set_current");

/// Headers, trace and the way to the client, as `_call.Call` takes them.
pub(crate) struct Context<'py> {
    headers: Option<Bound<'py, PyDict>>,
    trace: Option<Bound<'py, PyBytes>>,
    channel: Option<Bound<'py, PyAny>>,
}

impl<'py> Context<'py> {
    pub(crate) fn new(py: Python<'py>, known: &Known, client: &Client) -> PyResult<Self> {
        let headers = known.headers.as_ref().map(|headers| dict(py, headers));
        let (trace, channel) = (known.trace.as_ref(), client.channel.as_ref());
        Ok(Self {
            headers: headers.transpose()?,
            trace: trace.map(|trace| PyBytes::new(py, &packed(trace))),
            channel: channel.map(|channel| channel.bind(py).clone()),
        })
    }

    /// `start`, which begins a call of an `async def` function, within this context.
    pub(crate) fn around(
        self,
        start: Bound<'py, PyAny>,
        name: &Py<PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = start.py();
        let call = self.call(name.bind(py))?;
        let arguments = PyTuple::new(py, [RUN_ASYNC.get(py)?, &call, &start])?;
        partial(arguments, None)
    }

    fn call(self, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        CALL.get(py)?
            .call1((name, self.headers, self.trace, self.channel))
    }
}

fn dict<'py>(py: Python<'py>, headers: &Headers) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in headers {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

fn packed(trace: &TraceContext) -> [u8; 25] {
    let mut packed = [0; 25];
    packed[..16].copy_from_slice(&trace.trace_id);
    packed[16..24].copy_from_slice(&trace.span_id);
    packed[24] = trace.flags;
    packed
}

/// Runs a plain function. What is known of its call is left to those who ask: `Look` finds it on this
/// thread, and `Unbuilt` wherever the function takes its context.
#[inline]
pub(crate) fn run<'py>(
    core: &Arc<Core>,
    place: Place,
    known: &Known,
    name: &Py<PyString>,
    start: &Bound<'py, PyAny>,
    body: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = start.py();
    if known.is_nothing() {
        forget_earlier(py, core)?;
        return ffi::call(start, body);
    }
    if MODULE.get(py)?.getattr(intern!(py, "enter"))?.is_none() {
        if known.is_worth_knowing() {
            Unbuilt::set(py, core, place, known)?;
        } else {
            forget_earlier(py, core)?;
        }
        return ffi::call(start, body);
    }
    let client = core.lock().client(place);
    let it = Context::new(py, known, &client)?;
    let parts = (start, body, name, it.headers, it.trace, it.channel);
    RUN.get(py)?.call1(parts)
}

/// Forgets a call that was found by `Look`: its function is over.
pub(crate) fn forget(py: Python<'_>) -> PyResult<()> {
    ffi::call(SET.get(py)?, py.None().bind(py))?;
    Ok(())
}

/// Nobody who copies the context of the serving thread from now on finds a call that is over.
#[inline]
pub(crate) fn forget_earlier(py: Python<'_>, core: &Core) -> PyResult<()> {
    if core.stands_in.load(Ordering::Relaxed) {
        core.stands_in.store(false, Ordering::Relaxed);
        forget(py)?;
    }
    Ok(())
}

/// Stands for a call in the context variable. It stays there until the next one takes its place or
/// `forget_earlier` is called, and is of no account on the serving thread when its function is over.
#[pyclass(frozen, module = "pyproc_worker._core")]
struct Unbuilt {
    core: Arc<Core>,
    place: Place,
    known: Known,
    function: usize,
    /// The pulse while the function runs.
    count: u64,
    built: PyOnceLock<Py<PyAny>>,
}

impl Unbuilt {
    fn set(py: Python<'_>, core: &Arc<Core>, place: Place, known: &Known) -> PyResult<()> {
        let call = Self {
            core: Arc::clone(core),
            place,
            known: known.clone(),
            function: core.function.load(Ordering::Relaxed),
            count: core.pulse.count(),
            built: PyOnceLock::new(),
        };
        ffi::call(SET.get(py)?, Bound::new(py, call)?.as_any())?;
        core.stands_in.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn build(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let client = if self.core.forks.has_forked() {
            Client::default() // whom nothing can be sent
        } else {
            self.core.lock().client(self.place)
        };
        let name = self.core.package.name_of(py, self.function)?;
        let call = Context::new(py, &self.known, &client)?.call(&name)?;
        Ok(call.unbind())
    }
}

#[pymethods]
impl Unbuilt {
    /// The `Call`.
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.core.is_serving() && self.core.pulse.count() != self.count {
            return look(py, &self.core);
        }
        let built = self.built.get_or_try_init(py, || self.build(py))?;
        Ok(Some(built.bind(py).clone()))
    }
}

/// `_call.look`: finds the call of the plain function that runs on the serving thread.
#[pyclass(frozen, module = "pyproc_worker._core")]
pub(crate) struct Look {
    core: Arc<Core>,
}

impl Look {
    /// The looks of this thread, which serves, find its calls from now on.
    pub(crate) fn install(py: Python<'_>, core: &Arc<Core>) -> PyResult<()> {
        let look = Self {
            core: Arc::clone(core),
        };
        MODULE.get(py)?.setattr("look", Bound::new(py, look)?)
    }

    pub(crate) fn remove(py: Python<'_>) -> PyResult<()> {
        forget(py)?;
        MODULE.get(py)?.setattr("look", py.None())
    }
}

#[pymethods]
impl Look {
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.core.is_serving() {
            look(py, &self.core)
        } else {
            Ok(None)
        }
    }
}

fn look<'py>(py: Python<'py>, core: &Core) -> PyResult<Option<Bound<'py, PyAny>>> {
    if core.forks.has_forked() {
        return Ok(None); // the lock may be held by a thread that is not here
    }
    let Some((known, client)) = core.lock().known_of_running() else {
        return Ok(None);
    };
    let function = core.function.load(Ordering::Relaxed);
    let name = core.package.name_of(py, function)?;
    let call = Context::new(py, &known, &client)?.call(&name)?;
    ffi::call(SET.get(py)?, &call)?;
    core.looked.store(true, Ordering::Relaxed);
    Ok(Some(call))
}
