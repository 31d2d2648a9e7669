//! Large raw payloads: what has come of one, and all that comes, is read straight into the object
//! that the function gets.

use std::io;

use bytes::Bytes;
use pyo3::prelude::*;
use pyproc_protocol::v2::{self, Codec};
use pyproc_protocol::{LENGTH_PREFIX, Version};

use super::reading::{arrived, is_binary};
use super::{Call, CallBody, Connection};
use crate::ffi::UnfinishedBytes;

/// Raw payloads from here on.
const LARGE: usize = 64 * 1024;

/// Bytes before the payload of the longest request that is looked at before the frame is complete.
const HEAD: usize = 4 * 1024;

/// A raw payload that has begun to come.
pub(super) struct Large {
    call: Call,
    bytes: UnfinishedBytes,
}

impl Connection {
    /// If a request with a large raw payload has begun to come, what there is of it goes where the
    /// rest will.
    pub(super) fn begin_large(&mut self, py: Python<'_>) {
        let Some((prefix, body)) = self.input.split_first_chunk::<LENGTH_PREFIX>() else {
            return;
        };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len < LARGE || self.version == Version::V1 || !is_binary(body) {
            return;
        }
        let head = Bytes::copy_from_slice(&body[..body.len().min(HEAD)]);
        // A payload is all the rest of its frame, so a frame that is cut off within it says all but
        // its end.
        let Ok(v2::Message::Request(request)) = v2::Message::decode(&head) else {
            return;
        };
        let before_payload = head.len() - request.body.bytes.len();
        if request.body.codec != Codec::Raw || len - before_payload < LARGE {
            return;
        }
        // Without memory it will be told when the frame is complete.
        if let Ok(mut bytes) = UnfinishedBytes::new(py, len - before_payload) {
            bytes.append(&body[before_payload..]);
            self.input.clear();
            self.beside_decoder += (LENGTH_PREFIX + len) as u64;
            let call = self.call(Version::V2, request);
            self.large = Some(Large { call, bytes });
        }
    }

    pub(super) fn receive_large(&mut self) -> io::Result<()> {
        let Some(large) = &mut self.large else {
            return Ok(());
        };
        match arrived(large.bytes.receive(&*self.socket))? {
            None => return Ok(()),
            Some(0) => self.ended = true,
            Some(count) => self.backlog += count,
        }
        if !large.bytes.is_complete() {
            return Ok(());
        }
        if let Some(Large { mut call, bytes }) = self.large.take() {
            let len = bytes.len();
            if let Ok(bytes) = bytes.finish() {
                call.body = CallBody::Object { bytes, len };
                self.enqueue(call);
            }
        }
        Ok(())
    }
}
