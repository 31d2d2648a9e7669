//! Pauses the garbage collector.

use pyo3::intern;
use pyo3::prelude::*;

/// The garbage collector is paused until this is dropped.
pub(crate) struct PausedCollector<'py> {
    gc: Bound<'py, PyAny>,
    was_enabled: bool,
}

impl<'py> PausedCollector<'py> {
    /// Pauses the collector of `gc`, Python's module.
    pub(super) fn pause(gc: Bound<'py, PyAny>) -> Self {
        let py = gc.py();
        let was_enabled = gc
            .call_method0(intern!(py, "isenabled"))
            .and_then(|enabled| enabled.is_truthy())
            .unwrap_or(false)
            && gc.call_method0(intern!(py, "disable")).is_ok();
        Self { gc, was_enabled }
    }
}

impl Drop for PausedCollector<'_> {
    fn drop(&mut self) {
        if self.was_enabled {
            // Without arguments, and of a module that is loaded, it cannot fail.
            let _ = self.gc.call_method0(intern!(self.gc.py(), "enable"));
        }
    }
}
