//! The scalars of dicts and lists, lent to a sink without a reference for each of them.

use std::ptr;

use pyo3::Borrowed;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyList, PyString};

use super::objects::utf8_at;

/// A value that holds no other values, of exactly the type that is named here.
pub(crate) enum Scalar<'a> {
    /// A str without lone surrogates.
    Text(&'a str),
    /// An int of 64 bits.
    Integer(i64),
    /// A finite float.
    Float(f64),
    Boolean(bool),
    None,
}

/// Receives the scalars of a dict or list.
///
/// # Safety
///
/// No method may run Python code. All arguments are borrowed from the container, and Python code could remove them from
/// it.
pub(crate) unsafe trait ScalarSink {
    /// A value of a list comes next.
    fn begin_element(&mut self);

    /// The key of the value that comes next is the str object at this address. Returns false if the sink needs the key
    /// itself.
    fn known_key(&mut self, address: usize) -> bool;

    /// The key of the value that comes next, and its text.
    fn key(&mut self, key: Borrowed<'_, '_, PyString>, text: &str);

    /// A value.
    fn scalar(&mut self, scalar: Scalar<'_>);
}

/// Why a container's values are no longer lent.
pub(crate) enum Stop<'py> {
    /// The next value is no scalar. The sink has its key, or was told that it comes.
    Container(Bound<'py, PyAny>),
    /// The next key is no str, or has a lone surrogate.
    Key,
    /// There are no more.
    End,
}

/// The value as a scalar, if it is one.
#[inline]
pub(crate) fn scalar<'a>(value: &'a Bound<'_, PyAny>) -> Option<Scalar<'a>> {
    // SAFETY: the object lives for 'a, and the interpreter lock is held.
    unsafe { scalar_at(value.as_ptr()) }
}

/// Lends the items of a dict after `position`, which is 0 at first and moves on. If the dict changes between two calls,
/// items may be left out or come twice; nothing worse happens.
pub(crate) fn lend_items<'py>(
    dict: &Bound<'py, PyDict>,
    position: &mut isize,
    sink: &mut impl ScalarSink,
) -> Stop<'py> {
    // With an interpreter lock, this does nothing.
    with_critical_section(dict, || lend_locked_items(dict, position, sink))
}

#[inline]
fn lend_locked_items<'py>(
    dict: &Bound<'py, PyDict>,
    position: &mut isize,
    sink: &mut impl ScalarSink,
) -> Stop<'py> {
    let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: `dict` is a dict, and the three places may be written; the function checks the
    // position against the dict as it is now. The references are borrowed from the dict. Until they
    // have been used, or made our own, no Python code runs that could change it, as the sink promises.
    // Without an interpreter lock they are made our own at once, as the dict's lock is
    // released whenever this thread waits for another one.
    unsafe {
        let position = ptr::from_mut(position);
        while ffi::PyDict_Next(dict.as_ptr(), position, &raw mut key, &raw mut value) != 0 {
            #[cfg(Py_GIL_DISABLED)]
            let _ours = (
                Bound::from_borrowed_ptr(dict.py(), key),
                Bound::from_borrowed_ptr(dict.py(), value),
            );
            if ffi::Py_TYPE(key) != &raw mut ffi::PyUnicode_Type {
                return Stop::Key;
            }
            if !sink.known_key(key as usize) {
                let Some(text) = utf8_at(key) else {
                    return Stop::Key;
                };
                sink.key(Borrowed::from_ptr(dict.py(), key).cast_unchecked(), text);
            }
            match scalar_at(value) {
                Some(scalar) => sink.scalar(scalar),
                None => return Stop::Container(Bound::from_borrowed_ptr(dict.py(), value)),
            }
        }
    }
    Stop::End
}

/// Lends the elements of a list from `position` on, which moves on.
pub(crate) fn lend_elements<'py>(
    list: &Bound<'py, PyList>,
    position: &mut usize,
    sink: &mut impl ScalarSink,
) -> Stop<'py> {
    let len = list.len();
    while *position < len {
        #[cfg(Py_GIL_DISABLED)]
        let Ok(ours) = list.get_item(*position) else {
            return Stop::End; // another thread has shortened it
        };
        // SAFETY: `list` is a list, and the position is below its length, which stays as it is: no
        // Python code runs here, as the sink promises. The reference is borrowed from
        // the list; it is used, or made our own, before any runs. Without an interpreter lock it is
        // our own from the beginning.
        unsafe {
            #[cfg(not(Py_GIL_DISABLED))]
            let value = ffi::PyList_GetItem(list.as_ptr(), *position as Py_ssize_t);
            #[cfg(Py_GIL_DISABLED)]
            let value = ours.as_ptr();
            *position += 1;
            sink.begin_element();
            match scalar_at(value) {
                Some(scalar) => sink.scalar(scalar),
                None => return Stop::Container(Bound::from_borrowed_ptr(list.py(), value)),
            }
        }
    }
    Stop::End
}

/// # Safety
///
/// `value` must be an object that stays alive during 'a, and the interpreter lock must be held. No
/// Python code runs.
#[inline]
unsafe fn scalar_at<'a>(value: *mut PyObject) -> Option<Scalar<'a>> {
    // SAFETY: as the caller promises; each function gets an object of exactly the type that it
    // takes.
    unsafe {
        let kind = ffi::Py_TYPE(value);
        if kind == &raw mut ffi::PyUnicode_Type {
            utf8_at(value).map(Scalar::Text)
        } else if kind == &raw mut ffi::PyLong_Type {
            let mut overflow = 0;
            let number = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
            (overflow == 0).then_some(Scalar::Integer(number))
        } else if kind == &raw mut ffi::PyFloat_Type {
            let number = ffi::PyFloat_AsDouble(value);
            number.is_finite().then_some(Scalar::Float(number))
        } else if value == ffi::Py_None() {
            Some(Scalar::None)
        } else if value == ffi::Py_True() {
            Some(Scalar::Boolean(true))
        } else if value == ffi::Py_False() {
            Some(Scalar::Boolean(false))
        } else {
            None
        }
    }
}
