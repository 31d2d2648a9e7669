//! Objects of Python modules that are imported when they are used first, since each module takes
//! memory.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The object `name` of a module.
pub(crate) struct LazyImport {
    module: &'static str,
    name: &'static str,
    object: PyOnceLock<Py<PyAny>>,
}

impl LazyImport {
    pub(crate) const fn new(module: &'static str, name: &'static str) -> Self {
        Self {
            module,
            name,
            object: PyOnceLock::new(),
        }
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let import = || Ok::<_, PyErr>(py.import(self.module)?.getattr(self.name)?.unbind());
        Ok(self.object.get_or_try_init(py, import)?.bind(py))
    }
}
