//! All unsafe code of this crate: what PyO3 has no safe or no fast way to for the stable ABI.
//!
//! Some functions are declared here that the headers of the stable ABI of Python 3.9 leave out:
//! `PyUnicode_AsUTF8AndSize` (in the stable ABI since 3.10), `PyObject_VectorcallDict`, and those for
//! contexts. CPython exports them, with these signatures, in every release from 3.9 on; nothing else
//! loads this module.
//!
//! Where this says that the interpreter lock is held, a free-threaded interpreter has none, and any
//! thread may change a dict or a list meanwhile: there each element is a reference of our own, and a
//! dict is locked while we are at it.
#![allow(unsafe_code)]

mod buffer;
mod context;
mod peer;

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::{io, ptr, slice, str};

use bytes::BytesMut;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use rustix::net::RecvFlags;

pub(crate) use self::buffer::{Bounded, Full, Room, SHORT};
pub(crate) use self::context::{ContextCopy, SpareContext};
pub(crate) use self::peer::peer_uid;
use crate::types::json::{Labels, leaf};

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
unsafe fn utf8_at<'a>(text: *mut PyObject) -> Option<&'a str> {
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

/// The list of the items from `start` on, which are taken out.
pub(crate) fn list<'py>(
    py: Python<'py>,
    items: &mut Vec<Bound<'py, PyAny>>,
    start: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let items = items.drain(start..);
    // SAFETY: no vector is longer than `isize::MAX`. The list is new and has as many places as
    // there are items; each is filled once, by a reference that the list takes over.
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
pub(crate) fn borrow<'a>(_owner: &'a Bound<'_, PyAny>, fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the object said that this is its descriptor; it is used at once, before anybody could
    // close it.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// What was met in a dict or list behind its leaves.
pub(crate) enum Met<'py> {
    /// A value that holds others, which is to be written now; a key before it has been.
    Value(Bound<'py, PyAny>),
    /// A key that is no str.
    Key,
    /// Nothing: this was all.
    End,
}

/// Appends a value that holds no others as JSON, if it is one: a str, an int of 64 bits, a finite
/// float, a bool or None, of exactly these types.
pub(crate) fn write_leaf(value: &Bound<'_, PyAny>, out: &mut Bounded<'_>) -> bool {
    // SAFETY: the object is alive, and the interpreter lock is held.
    unsafe { write_leaf_at(value.as_ptr(), &mut Room::new(out)) }
}

/// Appends the items of a dict after `position`, each behind a comma, up to one that is no leaf.
/// The position moves on; at first it is 0. Should the dict be changed between two calls, items may
/// be left out or come twice, and that is all.
pub(crate) fn write_items<'py>(
    dict: &Bound<'py, PyDict>,
    position: &mut isize,
    labels: Option<&mut Labels>,
    out: &mut Bounded<'_>,
) -> Met<'py> {
    // It does nothing where there is an interpreter lock.
    with_critical_section(dict, || write_locked_items(dict, position, labels, out))
}

#[inline]
fn write_locked_items<'py>(
    dict: &Bound<'py, PyDict>,
    position: &mut isize,
    mut labels: Option<&mut Labels>,
    out: &mut Bounded<'_>,
) -> Met<'py> {
    let mut out = Room::new(out);
    let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: `dict` is a dict, and the three places may be written; the function checks the
    // position against the dict as it is now. The references are borrowed from the dict. Until they
    // have been used, or made our own, no Python code runs that could change it: leaves are written
    // without any. Without an interpreter lock they are made our own at once, as the dict's lock is
    // given up whenever this thread waits for another one.
    unsafe {
        let position = ptr::from_mut(position);
        while ffi::PyDict_Next(dict.as_ptr(), position, &raw mut key, &raw mut value) != 0 {
            #[cfg(Py_GIL_DISABLED)]
            let _ours = (
                Bound::from_borrowed_ptr(dict.py(), key),
                Bound::from_borrowed_ptr(dict.py(), value),
            );
            if ffi::Py_TYPE(key) != &raw mut ffi::PyUnicode_Type {
                return Met::Key;
            }
            let label = labels.as_ref().and_then(|labels| labels.get(key as usize));
            if let Some(label) = label {
                out.put_block(&label.json, label.len);
            } else {
                let Some(text) = utf8_at(key) else {
                    return Met::Key;
                };
                let start = out.len();
                out.put(b',');
                leaf::text(text, &mut out);
                out.put(b':');
                if let Some(labels) = &mut labels {
                    let key = Bound::from_borrowed_ptr(dict.py(), key);
                    labels.keep(key.cast_unchecked(), out.written_since(start));
                }
            }
            if !write_leaf_at(value, &mut out) {
                return Met::Value(Bound::from_borrowed_ptr(dict.py(), value));
            }
        }
    }
    Met::End
}

/// Appends the elements of a list from `position` on, each behind a comma, up to one that is no
/// leaf. The position moves on.
pub(crate) fn write_elements<'py>(
    list: &Bound<'py, PyList>,
    position: &mut usize,
    out: &mut Bounded<'_>,
) -> Met<'py> {
    let mut out = Room::new(out);
    let len = list.len();
    while *position < len {
        #[cfg(Py_GIL_DISABLED)]
        let Ok(ours) = list.get_item(*position) else {
            return Met::End; // another thread has shortened it
        };
        // SAFETY: `list` is a list, and the position is below its length, which stays as it is: no
        // Python code runs here, as leaves are written without any. The reference is borrowed from
        // the list; it is used, or made our own, before any runs. Without an interpreter lock it is
        // our own from the beginning.
        unsafe {
            #[cfg(not(Py_GIL_DISABLED))]
            let value = ffi::PyList_GetItem(list.as_ptr(), *position as Py_ssize_t);
            #[cfg(Py_GIL_DISABLED)]
            let value = ours.as_ptr();
            *position += 1;
            out.put(b',');
            if !write_leaf_at(value, &mut out) {
                return Met::Value(Bound::from_borrowed_ptr(list.py(), value));
            }
        }
    }
    Met::End
}

/// # Safety
///
/// `value` must be an object that stays alive meanwhile, and the interpreter lock must be held. No
/// Python code runs.
#[inline]
unsafe fn write_leaf_at(value: *mut PyObject, out: &mut Room<'_, '_>) -> bool {
    // SAFETY: as the caller promises; each function is given an object of just the type that it
    // takes.
    unsafe {
        let kind = ffi::Py_TYPE(value);
        if kind == &raw mut ffi::PyUnicode_Type {
            let Some(text) = utf8_at(value) else {
                return false;
            };
            leaf::text(text, out);
        } else if kind == &raw mut ffi::PyLong_Type {
            let mut overflow = 0;
            let number = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
            if overflow != 0 {
                return false;
            }
            leaf::integer(number, out);
        } else if kind == &raw mut ffi::PyFloat_Type {
            let number = ffi::PyFloat_AsDouble(value);
            if !number.is_finite() {
                return false;
            }
            leaf::float(number, out);
        } else if value == ffi::Py_None() {
            leaf::null(out);
        } else if value == ffi::Py_True() {
            leaf::boolean(true, out);
        } else if value == ffi::Py_False() {
            leaf::boolean(false, out);
        } else {
            return false;
        }
        true
    }
}

/// Appends what has arrived on a socket to the buffer, as far as it has room: how many bytes; 0 at
/// the end of the stream.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut BytesMut) -> io::Result<usize> {
    let count = recv(socket, buffer.spare_capacity_mut())?;
    // SAFETY: the system has initialized the first `count` bytes of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

fn recv(socket: impl AsFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let ((initialized, _), _) = rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT)?;
    Ok(initialized.len())
}

/// A Python bytes object that is being filled and that nobody else knows yet.
pub(crate) struct UnfinishedBytes {
    object: Py<PyBytes>,
    data: *mut u8,
    len: usize,
    filled: usize,
}

// SAFETY: the memory belongs to an object that only this value refers to, and which never moves;
// writing to it needs no interpreter lock.
unsafe impl Send for UnfinishedBytes {}

impl UnfinishedBytes {
    /// Memory for `len` bytes, of which none is there yet. Raises `MemoryError`.
    pub(crate) fn new(py: Python<'_>, len: usize) -> PyResult<Self> {
        // SAFETY: without a source the function returns a new bytes object of that length whose
        // content is not initialized, or null with an exception set. `len` stays below 4 GiB, the
        // longest frame.
        unsafe {
            let object = ffi::PyBytes_FromStringAndSize(ptr::null(), len as Py_ssize_t);
            let object = Bound::from_owned_ptr_or_err(py, object)?;
            let data = ffi::PyBytes_AsString(object.as_ptr()).cast();
            Ok(Self {
                object: object.cast_into_unchecked().unbind(),
                data,
                len,
                filled: 0,
            })
        }
    }

    /// Takes what has arrived on a socket, as far as it belongs here: how many bytes; 0 at the end
    /// of the stream.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        // SAFETY: the object has `len` bytes at `data`, and nobody else knows it.
        let missing = unsafe {
            slice::from_raw_parts_mut(self.data.add(self.filled).cast(), self.len - self.filled)
        };
        let count = recv(socket, missing)?;
        self.filled += count;
        Ok(count)
    }

    /// Appends bytes that are there already, as many as fit.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.len - self.filled);
        // SAFETY: there is room for `count` bytes behind those that are filled, and nobody else
        // knows the memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.data.add(self.filled), count) };
        self.filled += count;
    }

    /// Bytes that there will be.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether all bytes are there.
    pub(crate) fn is_complete(&self) -> bool {
        self.filled == self.len
    }

    /// The object, once it is complete.
    pub(crate) fn finish(self) -> Result<Py<PyBytes>, Self> {
        if self.is_complete() {
            Ok(self.object)
        } else {
            Err(self)
        }
    }
}
