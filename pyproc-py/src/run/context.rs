//! The context in which a plain function runs, and what may be known of a call meanwhile; see `pyproc_worker._call`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use pyproc_protocol::Headers;
use pyproc_protocol::v2::TraceContext;

use super::hooks::{self, Hooks};
use crate::ffi::{self, SpareContext};
use crate::package::Lazy;
use crate::package::partial;
use crate::state::{Core, NO_FUNCTION, Place};
use crate::transport::{Client, Known};

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

/// The copy of the context in which a plain function runs. What is known of its call is left to those who ask:
/// `Look` finds it on this thread, and `Unbuilt` wherever the function takes its context.
pub(crate) struct OwnContext<'py> {
    copy: ffi::ContextCopy<'py>,
    /// The call's context, if more is to be done for it than to stand for it.
    entered: Option<Context<'py>>,
}

impl<'py> OwnContext<'py> {
    /// Enters the context for a call; dropping it leaves it.
    #[inline]
    pub(crate) fn enter(
        py: Python<'py>,
        spare: &mut SpareContext<'py>,
        stand_in: &mut StandIn,
        core: &Arc<Core>,
        place: Place,
        known: &Known,
    ) -> PyResult<Self> {
        let entered = stand_in.begin(py, core, place, known)?;
        if stand_in.there.is_some() {
            spare.clear();
        }
        let copy = ffi::ContextCopy::enter(py, spare)?;
        Ok(Self { copy, entered })
    }

    #[inline]
    pub(crate) fn leave(self, spare: &mut SpareContext<'py>) {
        self.copy.leave(spare);
    }

    /// Runs the function, once.
    #[inline]
    pub(crate) fn run(
        &mut self,
        name: &Py<PyString>,
        start: &Bound<'py, PyAny>,
        body: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(it) = self.entered.take() else {
            return ffi::call(start, body);
        };
        let parts = (start, body, name, it.headers, it.trace, it.channel);
        RUN.get(start.py())?.call1(parts)
    }
}

/// What stands in the context variable for the call that runs, as the serving thread has it: in the context that calls
/// get copies of.
///
/// It is put there when the answers before have left: a call that comes alone need not wait for that.
#[derive(Default)]
pub(crate) struct StandIn {
    hooks: Hooks,
    there: Option<Py<Unbuilt>>,
    /// It stands for a call, which may be over.
    is_used: bool,
    /// What `leave` takes, if it is also where `stand` puts it.
    token: Option<Py<PyAny>>,
}

impl StandIn {
    /// A call begins. Returns what `_call.run` is to enter for it, if it is to.
    #[inline]
    fn begin<'py>(
        &mut self,
        py: Python<'py>,
        core: &Arc<Core>,
        place: Place,
        known: &Known,
    ) -> PyResult<Option<Context<'py>>> {
        if known.is_nothing() {
            self.leave(py)?;
            return Ok(None);
        }
        self.hooks.refresh(py)?;
        let (enters, stands) = (self.hooks.enter, self.hooks.stand.is_some());
        if !enters && known.is_worth_knowing() || stands && known.is_trace_alone() {
            self.stand_for(py, core, place, known)?;
            return Ok(None);
        }
        self.leave(py)?;
        if !enters {
            return Ok(None);
        }
        let client = core.lock().client(place);
        Context::new(py, known, &client).map(Some)
    }

    fn stand_for(
        &mut self,
        py: Python<'_>,
        core: &Arc<Core>,
        place: Place,
        known: &Known,
    ) -> PyResult<()> {
        let is_ready = !self.is_used && self.token.is_some() == self.hooks.stand.is_some();
        let unused = self.there.take().filter(|_| is_ready);
        let there = match unused {
            Some(there) => there,
            None => self.put(py, core)?,
        };
        // It is set but once, as it is taken by one call alone.
        there.get().begin(Unknown {
            place,
            known: known.clone(),
            function: core.function.load(Ordering::Relaxed),
            count: core.pulse.count(),
        });
        (self.there, self.is_used) = (Some(there), true);
        Ok(())
    }

    /// The next call is likely to be of the kind of the last one.
    #[inline]
    pub(crate) fn prepare(&mut self, py: Python<'_>, core: &Arc<Core>) -> PyResult<()> {
        if self.is_used {
            self.hooks.refresh(py)?;
            let there = self.put(py, core)?;
            (self.there, self.is_used) = (Some(there), false);
        }
        Ok(())
    }

    fn put(&mut self, py: Python<'_>, core: &Arc<Core>) -> PyResult<Py<Unbuilt>> {
        let new = Unbuilt::put(py, core)?;
        if let Some(stand) = &self.hooks.stand {
            let token = ffi::call(stand.bind(py), new.bind(py).as_any())?;
            // The first one's leads back to what was there before all of them.
            self.token.get_or_insert(token.unbind());
        }
        Ok(new)
    }

    /// Nobody who copies the context of the serving thread from now on finds a call that is over, or a later one.
    #[inline]
    pub(crate) fn leave(&mut self, py: Python<'_>) -> PyResult<()> {
        match self.there {
            Some(_) => self.forget(py),
            None => Ok(()),
        }
    }

    fn forget(&mut self, py: Python<'_>) -> PyResult<()> {
        (self.there, self.is_used) = (None, false);
        if let Some(token) = self.token.take() {
            let leave = MODULE.get(py)?.getattr(intern!(py, "leave"))?;
            ffi::call(&leave, token.bind(py))?;
        }
        forget(py)
    }
}

fn forget(py: Python<'_>) -> PyResult<()> {
    ffi::call(SET.get(py)?, py.None().bind(py))?;
    Ok(())
}

/// Stands for a call in the context variable, and for none until one takes it. It stays there until the next one takes its
/// place or `StandIn::leave` is called, and is of no account on the serving thread when its function is over.
#[pyclass(frozen, module = "pyproc_worker._core")]
struct Unbuilt {
    core: Arc<Core>,
    /// Set once; a `OnceLock` takes longer.
    call: RwLock<Option<Unknown>>,
    built: PyOnceLock<Py<PyAny>>,
}

/// A call that nobody has asked for.
#[derive(Clone)]
struct Unknown {
    place: Place,
    known: Known,
    function: usize,
    /// The pulse while the function runs.
    count: u64,
}

impl Unbuilt {
    /// Puts a new one there.
    fn put(py: Python<'_>, core: &Arc<Core>) -> PyResult<Py<Self>> {
        let new = Self {
            core: Arc::clone(core),
            call: RwLock::default(),
            built: PyOnceLock::new(),
        };
        let new = Bound::new(py, new)?;
        ffi::call(SET.get(py)?, new.as_any())?;
        Ok(new.unbind())
    }

    fn begin(&self, call: Unknown) {
        *self.call.write().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }

    /// `None` before it begins. Nobody waits for the lock: who holds it may have been left behind by a fork.
    fn call(&self) -> Option<Unknown> {
        self.call.try_read().ok()?.clone()
    }

    fn build(&self, py: Python<'_>, call: &Unknown) -> PyResult<Py<PyAny>> {
        let client = if self.core.forks.has_forked() {
            Client::default() // whom nothing can be sent
        } else {
            self.core.lock().client(call.place)
        };
        let name = self.core.package.name_of(py, call.function)?;
        let call = Context::new(py, &call.known, &client)?.call(&name)?;
        Ok(call.unbind())
    }
}

#[pymethods]
impl Unbuilt {
    /// The `Call` that it stands for, if it does.
    fn own<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(call) = self.call() else {
            return Ok(None);
        };
        let built = self.built.get_or_try_init(py, || self.build(py, &call))?;
        Ok(Some(built.bind(py).clone()))
    }

    /// The `Call` that is found here.
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let count = self.call().map(|it| it.count);
        if self.core.is_serving() && count != Some(self.core.pulse.count()) {
            return look(py, &self.core);
        }
        self.own(py)
    }
}

/// `_call.look`: finds the call of the plain function that runs on the serving thread.
#[pyclass(frozen, module = "pyproc_worker._core")]
pub(crate) struct Look {
    core: Arc<Core>,
}

impl Look {
    /// The looks of this thread, which serves, find its calls from now on, and it hears of hooks.
    pub(crate) fn install(py: Python<'_>, core: &Arc<Core>) -> PyResult<()> {
        let look = Self {
            core: Arc::clone(core),
        };
        hooks::install(py)?;
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
    let function = core.function.load(Ordering::Relaxed);
    if function == NO_FUNCTION {
        return Ok(None); // this is no call's own context
    }
    let Some((known, client)) = core.lock().known_of_running() else {
        return Ok(None);
    };
    let name = core.package.name_of(py, function)?;
    let call = Context::new(py, &known, &client)?.call(&name)?;
    ffi::call(SET.get(py)?, &call)?;
    Ok(Some(call))
}
