//! The functions that `pyproc_worker._calls.current` wants to be called around each call. The package reports changes, so that
//! no call needs to look them up.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;

use crate::package::LazyImport;

static MODULE: LazyImport = LazyImport::new("pyproc_worker._calls", "current");

static CHANGES: AtomicUsize = AtomicUsize::new(0);

/// `_calls.current.on_hooks_changed`.
#[pyfunction]
fn on_hooks_changed() {
    CHANGES.fetch_add(1, Ordering::Release);
}

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    MODULE.get(py)?.setattr(
        "on_hooks_changed",
        pyo3::wrap_pyfunction!(on_hooks_changed, py)?,
    )
}

/// The hooks when they were read last.
#[derive(Default)]
pub(super) struct Hooks {
    /// The number of changes at that time; `None` before the first read.
    changes: Option<usize>,
    pub(super) enter: bool,
    pub(super) stand: Option<Py<PyAny>>,
}

impl Hooks {
    #[inline]
    pub(super) fn refresh(&mut self, py: Python<'_>) -> PyResult<()> {
        let changes = CHANGES.load(Ordering::Acquire);
        if self.changes == Some(changes) {
            return Ok(());
        }
        self.read(py)?;
        self.changes = Some(changes);
        Ok(())
    }

    #[cold]
    fn read(&mut self, py: Python<'_>) -> PyResult<()> {
        let module = MODULE.get(py)?;
        self.enter = !module.getattr(intern!(py, "enter"))?.is_none();
        let stand = module.getattr(intern!(py, "enter_placeholder"))?;
        self.stand = (self.enter && !stand.is_none()).then(|| stand.unbind());
        Ok(())
    }
}
