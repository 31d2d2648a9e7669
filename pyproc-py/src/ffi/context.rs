//! Copies of the current context, entered and left.

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use std::ffi::c_int;

// No version of the stable ABI has these; see `mod.rs`.
unsafe extern "C" {
    fn PyContext_CopyCurrent() -> *mut PyObject;
    fn PyContext_Enter(context: *mut PyObject) -> c_int;
    fn PyContext_Exit(context: *mut PyObject) -> c_int;
}

/// A context without variables, kept from an earlier call of the same time slice. Only tokens of `ContextVar.set` can
/// refer to it, and they end with what they set.
#[derive(Default)]
pub(crate) struct SpareContext<'py>(Option<Bound<'py, PyAny>>);

impl SpareContext<'_> {
    /// The next call gets a new copy: a variable was set in the thread's own context.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

/// A copy of the thread's context, which is the current context until this is dropped. What a call sets ends with it.
pub(crate) struct ContextCopy<'py> {
    context: Bound<'py, PyAny>,
    is_entered: bool,
}

impl<'py> ContextCopy<'py> {
    /// Enters the spare context, which equals a copy of a context without variables, or else a copy. Raises
    /// `MemoryError`.
    #[inline]
    pub(crate) fn enter(py: Python<'py>, spare: &mut SpareContext<'py>) -> PyResult<Self> {
        // SAFETY: this thread is attached to the interpreter, as `py` shows. The copy is a new
        // reference, or null with an exception set. It is a context that is not entered, as is
        // a spare one, which has been left.
        unsafe {
            let context = match spare.0.take() {
                Some(left) => left,
                None => Bound::from_owned_ptr_or_err(py, PyContext_CopyCurrent())?,
            };
            if PyContext_Enter(context.as_ptr()) != 0 {
                return Err(PyErr::fetch(py));
            }
            let is_entered = true;
            Ok(Self {
                context,
                is_entered,
            })
        }
    }

    /// Leaves the context, and keeps it for the next call if it has no variables.
    #[inline]
    pub(crate) fn leave(mut self, spare: &mut SpareContext<'py>) {
        if self.exit() && self.context.len().is_ok_and(|variables| variables == 0) {
            spare.0 = Some(self.context.clone());
        }
    }

    /// Leaves the context. Returns whether that was possible.
    #[inline]
    fn exit(&mut self) -> bool {
        self.is_entered = false;
        // SAFETY: it is a context, and this thread, which has entered it, is attached, as the
        // reference cannot be sent to another one.
        let is_left = unsafe { PyContext_Exit(self.context.as_ptr()) } == 0;
        if !is_left {
            // C code of the function entered another context and did not leave it. The next call copies that one.
            drop(PyErr::take(self.context.py()));
        }
        is_left
    }
}

impl Drop for ContextCopy<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_entered {
            self.exit();
        }
    }
}
