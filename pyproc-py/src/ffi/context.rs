//! Context variables.

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use std::ffi::c_int;

// No version of the stable ABI has these; see the module above.
unsafe extern "C" {
    fn PyContext_CopyCurrent() -> *mut PyObject;
    fn PyContext_Enter(context: *mut PyObject) -> c_int;
    fn PyContext_Exit(context: *mut PyObject) -> c_int;
}

/// A copy of this thread's context, which is the current one until this is dropped: what is set in it ends with it.
pub(crate) struct ContextCopy<'py>(Bound<'py, PyAny>);

impl<'py> ContextCopy<'py> {
    /// Raises `MemoryError`.
    #[inline]
    pub(crate) fn enter(py: Python<'py>) -> PyResult<Self> {
        // SAFETY: this thread is attached to the interpreter, as `py` shows. The copy is a new
        // reference, or null with an exception set; it is a context that nobody has entered.
        unsafe {
            let copy = Bound::from_owned_ptr_or_err(py, PyContext_CopyCurrent())?;
            if PyContext_Enter(copy.as_ptr()) == 0 {
                Ok(Self(copy))
            } else {
                Err(PyErr::fetch(py))
            }
        }
    }
}

impl Drop for ContextCopy<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it is a context, and this thread, which has entered it, is attached, as the
        // reference cannot be sent to another one.
        let left = unsafe { PyContext_Exit(self.0.as_ptr()) };
        if left != 0 {
            // C code of the function left a context of its own entered. The next call copies that.
            drop(PyErr::take(self.0.py()));
        }
    }
}
