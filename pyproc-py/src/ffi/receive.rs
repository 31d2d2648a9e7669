//! Reading from a socket into memory that is not initialized.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::{io, ptr, slice};

use bytes::BytesMut;
use pyo3::ffi::{self, Py_ssize_t};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustix::net::RecvFlags;

/// Appends what has arrived on a socket to the buffer, within its capacity: how many bytes; 0 at
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

/// A Python bytes object that is being filled. Nothing else refers to it yet.
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
    /// An object of `len` bytes, none of which is filled. Raises `MemoryError`.
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

    /// Takes what has arrived on a socket, up to the end of the object: how many bytes; 0 at the end
    /// of the stream.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        // SAFETY: the object has `len` bytes at `data`, and nothing else refers to it.
        let missing = unsafe {
            slice::from_raw_parts_mut(self.data.add(self.filled).cast(), self.len - self.filled)
        };
        let count = recv(socket, missing)?;
        self.filled += count;
        Ok(count)
    }

    /// Appends bytes that have arrived already, as many as fit.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.len - self.filled);
        // SAFETY: there is space for `count` bytes behind those that are filled, and nothing else
        // refers to it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.data.add(self.filled), count) };
        self.filled += count;
    }

    /// How many bytes it has when it is complete.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether all bytes are filled.
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
