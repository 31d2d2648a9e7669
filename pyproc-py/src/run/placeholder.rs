//! Stands for a call in the context variable of `_calls.current`. The `Call` is only built if code asks for it.
//!
//! The placeholder is set in the context of the serving thread, of which each call gets a copy. It is set after the
//! previous answers have left, so that a call that comes alone need not wait for that.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::call_info::CallInfo;
use super::call_lookup::{running_call, set_current};
use super::hooks::Hooks;
use crate::ffi;
use crate::package::LazyImport;
use crate::state::{ConnectionId, Core};
use crate::transport::CallMetadata;

static MODULE: LazyImport = LazyImport::new("pyproc_worker._calls", "current");

/// The placeholder in the serving thread's context.
#[derive(Default)]
pub(crate) struct Placeholder {
    hooks: Hooks,
    current: Option<Py<LazyCall>>,
    /// It stands for a call, which may have ended.
    is_used: bool,
    /// The argument of `_calls.current.leave`, if the `enter_placeholder` hook was called for a placeholder.
    token: Option<Py<PyAny>>,
}

impl Placeholder {
    /// Whether there is one.
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.current.is_some()
    }

    /// A call begins. Returns its info if `_calls.current.run` is to call hooks around it.
    #[inline]
    pub(super) fn begin<'py>(
        &mut self,
        py: Python<'py>,
        core: &Arc<Core>,
        connection_id: ConnectionId,
        metadata: &CallMetadata,
    ) -> PyResult<Option<CallInfo<'py>>> {
        if metadata.is_empty() {
            self.clear(py)?;
            return Ok(None);
        }
        self.hooks.refresh(py)?;
        let (has_enter, has_stand) = (self.hooks.enter, self.hooks.stand.is_some());
        if !has_enter && metadata.is_likely_recorded() || has_stand && metadata.has_only_trace() {
            self.stand_for(py, core, connection_id, metadata)?;
            return Ok(None);
        }
        self.clear(py)?;
        if !has_enter {
            return Ok(None);
        }
        let channel = core.lock().channel(connection_id);
        CallInfo::new(py, metadata, channel.as_ref()).map(Some)
    }

    fn stand_for(
        &mut self,
        py: Python<'_>,
        core: &Arc<Core>,
        connection_id: ConnectionId,
        metadata: &CallMetadata,
    ) -> PyResult<()> {
        let is_ready = !self.is_used && self.token.is_some() == self.hooks.stand.is_some();
        let unused = self.current.take().filter(|_| is_ready);
        let lazy_call = match unused {
            Some(lazy_call) => lazy_call,
            None => self.set_new(py, core)?,
        };
        // It is set only once, as only one call takes it.
        lazy_call.get().begin(CallRecord {
            connection_id,
            metadata: metadata.clone(),
            function: core.function.load(Ordering::Relaxed),
            activity: core.activity.count(),
        });
        (self.current, self.is_used) = (Some(lazy_call), true);
        Ok(())
    }

    /// Prepares the placeholder for the next call, which is likely to be of the same kind as the last one.
    #[inline]
    pub(crate) fn prepare(&mut self, py: Python<'_>, core: &Arc<Core>) -> PyResult<()> {
        if self.is_used {
            self.hooks.refresh(py)?;
            let lazy_call = self.set_new(py, core)?;
            (self.current, self.is_used) = (Some(lazy_call), false);
        }
        Ok(())
    }

    fn set_new(&mut self, py: Python<'_>, core: &Arc<Core>) -> PyResult<Py<LazyCall>> {
        let lazy_call = LazyCall::set_new(py, core)?;
        if let Some(stand) = &self.hooks.stand {
            let token = ffi::call(stand.bind(py), lazy_call.bind(py).as_any())?;
            // The first token leads back to the state before all placeholders.
            self.token.get_or_insert(token.unbind());
        }
        Ok(lazy_call)
    }

    /// Removes the placeholder. Code that copies the serving thread's context from now on finds neither a call that has
    /// ended nor a later one.
    #[inline]
    pub(crate) fn clear(&mut self, py: Python<'_>) -> PyResult<()> {
        match self.current {
            Some(_) => self.remove(py),
            None => Ok(()),
        }
    }

    fn remove(&mut self, py: Python<'_>) -> PyResult<()> {
        (self.current, self.is_used) = (None, false);
        if let Some(token) = self.token.take() {
            let leave = MODULE.get(py)?.getattr(intern!(py, "leave"))?;
            ffi::call(&leave, token.bind(py))?;
        }
        set_current(py, py.None().bind(py))
    }
}

/// Stands for a call in the context variable, and for none until a call begins. It stays there until the next one
/// replaces it or `Placeholder::clear` is called. Once its function has ended, it has no effect on the serving thread.
#[pyclass(frozen, module = "pyproc_worker._core")]
struct LazyCall {
    core: Arc<Core>,
    /// Set once; a `OnceLock` is slower.
    record: RwLock<Option<CallRecord>>,
    call: PyOnceLock<Py<PyAny>>,
}

/// What is needed to build a `Call`.
#[derive(Clone)]
struct CallRecord {
    connection_id: ConnectionId,
    metadata: CallMetadata,
    function: usize,
    /// The activity's count while the function runs.
    activity: u64,
}

impl LazyCall {
    /// Sets a new one in the context variable.
    fn set_new(py: Python<'_>, core: &Arc<Core>) -> PyResult<Py<Self>> {
        let new = Self {
            core: Arc::clone(core),
            record: RwLock::default(),
            call: PyOnceLock::new(),
        };
        let new = Bound::new(py, new)?;
        set_current(py, new.as_any())?;
        Ok(new.unbind())
    }

    fn begin(&self, record: CallRecord) {
        *self.record.write().unwrap_or_else(PoisonError::into_inner) = Some(record);
    }

    /// `None` before it begins. This never waits for the lock: after a fork, a thread that no longer exists may hold it.
    fn record(&self) -> Option<CallRecord> {
        self.record.try_read().ok()?.clone()
    }

    fn build(&self, py: Python<'_>, record: &CallRecord) -> PyResult<Py<PyAny>> {
        let channel = if self.core.forks.has_forked() {
            None // nothing can be sent
        } else {
            self.core.lock().channel(record.connection_id)
        };
        let name = self.core.package.name_of(py, record.function)?;
        let call = CallInfo::new(py, &record.metadata, channel.as_ref())?.into_call(&name)?;
        Ok(call.unbind())
    }
}

#[pymethods]
impl LazyCall {
    /// The `Call` that it stands for, if it stands for one.
    fn own<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(record) = self.record() else {
            return Ok(None);
        };
        let call = self.call.get_or_try_init(py, || self.build(py, &record))?;
        Ok(Some(call.bind(py).clone()))
    }

    /// The `Call` for code that finds this in the context variable.
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let activity = self.record().map(|it| it.activity);
        if self.core.is_serving() && activity != Some(self.core.activity.count()) {
            return running_call(py, &self.core);
        }
        self.own(py)
    }
}
