//! A large raw payload that has begun to arrive. The rest is received straight into the Python object that the function
//! gets.

use std::io;
use std::os::fd::AsFd;

use super::request::{Call, CallBody};
use crate::ffi::UnfinishedBytes;

/// A call whose raw payload has begun to arrive.
pub(super) struct LargePayload {
    call: Call,
    bytes: UnfinishedBytes,
}

impl LargePayload {
    pub(super) fn new(call: Call, bytes: UnfinishedBytes) -> Self {
        Self { call, bytes }
    }

    /// Takes what has arrived on the socket: how many bytes; 0 at the end of the stream.
    pub(super) fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.bytes.receive(socket)
    }

    /// Whether all bytes have arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.bytes.is_complete()
    }

    /// The call, once its payload is complete.
    pub(super) fn finish(self) -> Option<Call> {
        let len = self.bytes.len();
        let bytes = self.bytes.finish().ok()?;
        let body = CallBody::Object { bytes, len };
        Some(Call { body, ..self.call })
    }
}
