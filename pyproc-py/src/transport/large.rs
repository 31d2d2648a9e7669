//! Large raw payloads: what has come of one, and all that comes, is read straight into the object
//! that the function gets.

use std::io;

use pyo3::prelude::*;
use pyproc_protocol::Version;

use super::reading::arrived;
use super::{Call, CallBody, Connection};
use crate::ffi::UnfinishedBytes;

/// Raw payloads from here on.
const LARGE: usize = 64 * 1024;

/// A raw payload that has begun to come.
pub(super) struct Large {
    call: Call,
    bytes: UnfinishedBytes,
}

impl Connection {
    /// If a request with a large raw payload has begun to come, what there is of it goes where the
    /// rest will.
    pub(super) fn begin_large(&mut self, py: Python<'_>) {
        let Some(begun) = self.session.begun_request(&self.input, LARGE) else {
            return;
        };
        // Without memory it will be told when the frame is complete.
        if let Ok(mut bytes) = UnfinishedBytes::new(py, begun.payload) {
            bytes.append(begun.beginning(&self.input));
            self.session.take_begun(&begun, &mut self.input);
            let call = self.call(Version::V2, begun.request);
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
            // A drain may have begun meanwhile.
            if let Ok(bytes) = bytes.finish()
                && !self.session.is_draining()
            {
                call.body = CallBody::Object { bytes, len };
                self.enqueue(call);
            }
        }
        Ok(())
    }
}
