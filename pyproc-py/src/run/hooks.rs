//! What `pyproc_worker._call` is to do for each call. It says when that changes, so that no call need look.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;

use crate::package::Lazy;

static MODULE: Lazy = Lazy::new("pyproc_worker", "_call");

static CHANGES: AtomicUsize = AtomicUsize::new(0);

/// `_call.hooked`.
#[pyfunction]
fn hooked() {
    CHANGES.fetch_add(1, Ordering::Release);
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    MODULE
        .get(py)?
        .setattr("hooked", pyo3::wrap_pyfunction!(hooked, py)?)
}

/// The hooks as they were when somebody looked last.
#[derive(Default)]
pub(crate) struct Hooks {
    /// The changes until then, if anybody ever looked.
    seen: Option<usize>,
    pub(crate) enter: bool,
    pub(crate) stand: Option<Py<PyAny>>,
}

impl Hooks {
    #[inline]
    pub(crate) fn refresh(&mut self, py: Python<'_>) -> PyResult<()> {
        let changes = CHANGES.load(Ordering::Acquire);
        if self.seen == Some(changes) {
            return Ok(());
        }
        self.look(py)?;
        self.seen = Some(changes);
        Ok(())
    }

    #[cold]
    fn look(&mut self, py: Python<'_>) -> PyResult<()> {
        let module = MODULE.get(py)?;
        self.enter = !module.getattr(intern!(py, "enter"))?.is_none();
        let stand = module.getattr(intern!(py, "stand"))?;
        self.stand = (self.enter && !stand.is_none()).then(|| stand.unbind());
        Ok(())
    }
}
