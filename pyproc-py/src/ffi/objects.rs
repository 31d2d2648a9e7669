//! Python objects: texts, lists, dicts, calls, descriptors.

use std::ffi::c_char;
use std::os::fd::{BorrowedFd, RawFd};
use std::{ptr, slice, str};

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

unsafe extern "C" {
    fn PyUnicode_AsUTF8AndSize(unicode: *mut PyObject, size: *mut Py_ssize_t) -> *const c_char;

    fn PyObject_VectorcallDict(
        callable: *mut PyObject,
        arguments: *const *mut PyObject,
        count: usize,
        keywords: *mut PyObject,
    ) -> *mut PyObject;
}

/// The text in UTF-8, without a copy; `None` if it has a lone surrogate.
pub(crate) fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a str> {
    // SAFETY: `text` is a str that lives for 'a, and the interpreter lock is held.
    unsafe { utf8_at(text.as_ptr()) }
}

/// # Safety
///
/// `text` must be a str that stays alive during 'a, and the interpreter lock must be held.
#[inline]
pub(super) unsafe fn utf8_at<'a>(text: *mut PyObject) -> Option<&'a str> {
    let mut size = 0;
    // SAFETY: `text` is a str, and `size` may be written. What is returned is valid UTF-8 of `size`
    // bytes, which belongs to the str, lives as long as it, and never changes.
    unsafe {
        let data = PyUnicode_AsUTF8AndSize(text, &raw mut size);
        if data.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let bytes = slice::from_raw_parts(data.cast::<u8>(), size as usize);
        Some(str::from_utf8_unchecked(bytes))
    }
}

/// The str that these bytes are in UTF-8.
#[inline]
pub(crate) fn string<'py>(py: Python<'py>, utf8: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (bytes, len) = (utf8.as_ptr().cast(), utf8.len() as Py_ssize_t);
    // SAFETY: the bytes may be read, and no slice is longer than `isize::MAX`. The result is a
    // new reference, or null with an exception set.
    unsafe {
        let text = if utf8.is_ascii() {
            // Each byte is a character, also in Latin-1, which is read faster.
            ffi::PyUnicode_DecodeLatin1(bytes, len, ptr::null())
        } else {
            ffi::PyUnicode_DecodeUTF8(bytes, len, ptr::null())
        };
        Bound::from_owned_ptr_or_err(py, text)
    }
}

/// Sets an item of a dict.
#[inline]
pub(crate) fn set_item<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<()> {
    // SAFETY: `dict` is a dict, and all three are alive; the function takes references of its own.
    let result = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) };
    if result == 0 {
        Ok(())
    } else {
        Err(PyErr::fetch(dict.py()))
    }
}

/// A list of the items from `start` on, which are removed from `items`.
pub(crate) fn list<'py>(
    py: Python<'py>,
    items: &mut Vec<Bound<'py, PyAny>>,
    start: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let items = items.drain(start..);
    // SAFETY: no vector is longer than `isize::MAX`. The list is new and as long as
    // there are items; each position is filled once, by a reference that the list takes over.
    unsafe {
        let list = ffi::PyList_New(items.len() as Py_ssize_t);
        let list = Bound::from_owned_ptr_or_err(py, list)?;
        for (position, item) in items.enumerate() {
            ffi::PyList_SetItem(list.as_ptr(), position as Py_ssize_t, item.into_ptr());
        }
        Ok(list)
    }
}

/// Calls with one argument, without a tuple for it.
pub(crate) fn call<'py>(
    callable: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    call_with(callable, [argument])
}

/// Calls with a few arguments, without a tuple for them.
pub(crate) fn call_with<'py, const N: usize>(
    callable: &Bound<'py, PyAny>,
    arguments: [&Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = arguments.map(Bound::as_ptr);
    // SAFETY: all objects are alive during the call, and there are `N` arguments as said. The result
    // is a new reference, or null with an exception set.
    unsafe {
        let result =
            PyObject_VectorcallDict(callable.as_ptr(), arguments.as_ptr(), N, ptr::null_mut());
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// The descriptor that an object has open.
pub(crate) fn borrow_fd<'a>(_owner: &'a Bound<'_, PyAny>, fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the object returned this as its open descriptor; it is used at once, before other code could
    // close it.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
