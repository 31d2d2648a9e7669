//! Finds the call of the plain function that runs, when code asks for it by `_calls.current.current_call`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::call_info::CallInfo;
use super::hooks;
use crate::ffi;
use crate::package::LazyImport;
use crate::state::{Core, NO_FUNCTION};

static MODULE: LazyImport = LazyImport::new("pyproc_worker._calls", "current");
static SET_CURRENT: LazyImport = LazyImport::new("pyproc_worker._calls.current", "set_current");

/// `_calls.current.find_plain_call`: called where the context variable is empty.
#[pyclass(frozen, module = "pyproc_worker._core")]
pub(crate) struct CallLookup {
    core: Arc<Core>,
}

impl CallLookup {
    /// From now on, code on the current thread, which serves, finds its calls, and changes of the hooks are noticed.
    pub(crate) fn install(py: Python<'_>, core: &Arc<Core>) -> PyResult<()> {
        let lookup = Self {
            core: Arc::clone(core),
        };
        hooks::install(py)?;
        MODULE
            .get(py)?
            .setattr("find_plain_call", Bound::new(py, lookup)?)
    }

    pub(crate) fn remove(py: Python<'_>) -> PyResult<()> {
        set_current(py, py.None().bind(py))?;
        MODULE.get(py)?.setattr("find_plain_call", py.None())
    }
}

#[pymethods]
impl CallLookup {
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.core.is_serving() {
            running_call(py, &self.core)
        } else {
            Ok(None)
        }
    }
}

/// The `Call` of the plain function that runs on the current thread, which serves. The context variable has it from
/// then on.
pub(super) fn running_call<'py>(
    py: Python<'py>,
    core: &Core,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if core.forks.has_forked() {
        return Ok(None); // a thread that does not exist here may hold the lock
    }
    let function = core.function.load(Ordering::Relaxed);
    if function == NO_FUNCTION {
        return Ok(None); // this is not the context of a call
    }
    let Some((metadata, channel)) = core.lock().running_call_info() else {
        return Ok(None);
    };
    let name = core.package.name_of(py, function)?;
    let call = CallInfo::new(py, &metadata, channel.as_ref())?.into_call(&name)?;
    set_current(py, &call)?;
    Ok(Some(call))
}

/// Sets the context variable in the current context.
pub(super) fn set_current<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<()> {
    ffi::call(SET_CURRENT.get(py)?, value)?;
    Ok(())
}
