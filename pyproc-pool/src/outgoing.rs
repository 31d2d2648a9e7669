use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use bytes::Bytes;
use pyproc_protocol::{Codec, Headers, MAX_HEADER_BYTES, MAX_HEADERS, RequestHead, TraceContext};

/// A request before it is dispatched, encoded as far as possible without a worker.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) envelope: Envelope,
    pub(crate) payload: Payload,
}

#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) codec: Codec,
    pub(crate) headers: Headers,
    pub(crate) trace: Option<Trace>,
    pub(crate) wants_times: bool,
    /// When the caller times out.
    pub(crate) deadline: Instant,
}

/// The trace context that the observer sends to the worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace {
    pub(crate) context: TraceContext,
    /// Replaces the span id in `context` for workers that do not report when the function ran.
    pub(crate) caller_span_id: Option<[u8; 8]>,
}

/// What attributes the lines that a worker prints to one of its calls.
#[derive(Debug)]
pub(crate) struct Calling {
    pub(crate) function: String,
    pub(crate) trace: Option<TraceContext>,
    /// The value of the header `baggage`.
    pub(crate) baggage: Option<String>,
}

impl Trace {
    /// The context of the span above the execution's, if the observer gave it.
    pub(crate) fn above_execution(self) -> TraceContext {
        TraceContext {
            span_id: self.caller_span_id.unwrap_or(self.context.span_id),
            ..self.context
        }
    }
}

#[derive(Debug)]
pub(crate) enum Payload {
    /// Memory that is reused for other calls.
    Buffer(Vec<u8>),
    /// The user's memory. Dropping it may run the user's code, so that is done without the scheduler's lock.
    Shared(Bytes),
}

impl Default for Payload {
    fn default() -> Self {
        Self::Buffer(Vec::new())
    }
}

/// The header with the trace context, for frames that have no field for it.
const TRACEPARENT: &str = "traceparent";

/// An upper bound for the bytes of that header in version 1.
pub(crate) const TRACEPARENT_ROOM: usize = 100;

impl Envelope {
    /// Adds what only a header can bring to a worker of version 1.
    pub(crate) fn suit_version_1(&mut self) {
        let Some(trace) = self.trace.map(Trace::above_execution) else {
            return;
        };
        let size: usize = self.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        let fits = self.headers.len() < MAX_HEADERS && size + TRACEPARENT_ROOM <= MAX_HEADER_BYTES;
        if fits && !self.headers.contains_key(TRACEPARENT) {
            self.headers.insert(TRACEPARENT.into(), trace.to_string());
        }
    }

    /// What the lines of its worker are attributed to.
    pub(crate) fn calling(&self, function: &str) -> Calling {
        Calling {
            function: function.into(),
            trace: self.trace.map(Trace::above_execution),
            baggage: self.headers.get("baggage").cloned(),
        }
    }

    /// The head of the request, for a worker that has the function at `index`.
    pub(crate) fn head<'a>(
        &'a self,
        id: u64,
        method: &'a str,
        index: Option<u16>,
        now: Instant,
    ) -> RequestHead<'a> {
        RequestHead {
            index,
            trace: self.trace.map(|it| it.context),
            deadline: Some(self.deadline.saturating_duration_since(now)),
            wants_times: self.wants_times,
            codec: self.codec,
            ..RequestHead::new(id, method, &self.headers)
        }
    }
}

impl Payload {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Shared(bytes) => bytes,
        }
    }

    /// The memory, if it can be reused for another call.
    pub(crate) fn into_buffer(self) -> Option<Vec<u8>> {
        match self {
            Self::Buffer(buffer) => Some(buffer),
            Self::Shared(_) => None,
        }
    }

    /// Shares the payload's memory with the returned handle.
    pub(crate) fn share(&mut self) -> Bytes {
        let bytes = std::mem::take(self).into_bytes();
        *self = Self::Shared(bytes.clone());
        bytes
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Buffer(buffer) => buffer.into(),
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Drops a payload that may be the user's memory. A panic of the user's `Drop` is swallowed here: the panic hook has
/// reported it, and this thread serves other calls.
pub(crate) fn discard(payload: Bytes) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
}
