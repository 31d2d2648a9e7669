//! Calls that run, and calls that are cancelled.

use std::sync::Arc;

use pyo3::prelude::*;
use pyproc_protocol::Codec;
use pyproc_protocol::{ResponseEncoder, Version};

use super::connections::ConnectionId;
use crate::transport::{CallMetadata, PendingRequest};

/// The plain function that runs.
pub(crate) struct RunningCall {
    pub(super) connection_id: ConnectionId,
    pub(super) id: u64,
    /// Its `cancel_event`, if it takes one.
    pub(super) event: Option<Arc<Py<PyAny>>>,
    pub(super) metadata: CallMetadata,
}

/// A request that was taken from a connection's queue.
pub(crate) struct StartedRequest {
    pub(crate) request: PendingRequest,
    /// How it is answered.
    pub(crate) form: ResponseEncoder,
    /// The call that ran before. It is dropped with this value, after the lock is released.
    pub(super) _previous: Option<RunningCall>,
}

/// A call on the event loop.
pub(crate) struct AsyncCall {
    pub(crate) connection_id: ConnectionId,
    pub(crate) id: u64,
    pub(crate) version: Version,
    pub(crate) codec: Codec,
    pub(crate) method: String,
    /// Bytes that it takes.
    pub(crate) size: usize,
    pub(crate) event: Option<Arc<Py<PyAny>>>,
    /// Its `Stopwatch`.
    pub(crate) stopwatch: Option<Py<PyAny>>,
}

/// Running functions that are cancelled: the events to set, the tokens of calls on the event loop.
#[derive(Default)]
pub(crate) struct CancelledCalls {
    pub(crate) events: Vec<Arc<Py<PyAny>>>,
    pub(crate) tokens: Vec<u64>,
}

impl CancelledCalls {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.tokens.is_empty()
    }

    /// Adds the calls of `other` that are missing here.
    pub(crate) fn merge(&mut self, other: Self) {
        for event in other.events {
            if !self.events.iter().any(|known| Arc::ptr_eq(known, &event)) {
                self.events.push(event);
            }
        }
        for token in other.tokens {
            if !self.tokens.contains(&token) {
                self.tokens.push(token);
            }
        }
    }
}
