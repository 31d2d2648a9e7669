use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use bytes::Bytes;
use pyproc_protocol::{Codec, Headers, MAX_HEADER_BYTES, MAX_HEADERS, RequestHead, TraceContext};

/// A request, as far as it can be written before a worker takes it.
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
    /// When the caller stops waiting.
    pub(crate) deadline: Instant,
}

/// What the observer wants the worker to know of the trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace {
    pub(crate) context: TraceContext,
    /// In place of that in `context` where the worker does not say when the function ran.
    pub(crate) caller_span_id: Option<[u8; 8]>,
}

/// What is known of a call where the lines are read that its worker prints.
#[derive(Debug)]
pub(crate) struct Calling {
    pub(crate) function: String,
    pub(crate) trace: Option<TraceContext>,
    /// The header of this name.
    pub(crate) baggage: Option<String>,
}

impl Trace {
    /// The span above that of the execution, if it is known.
    pub(crate) fn above_execution(self) -> TraceContext {
        TraceContext {
            span_id: self.caller_span_id.unwrap_or(self.context.span_id),
            ..self.context
        }
    }
}

#[derive(Debug)]
pub(crate) enum Payload {
    /// Memory that is used again for other calls.
    Buffer(Vec<u8>),
    /// The user's own. Dropping it may run the user's code, so that is done without the scheduler's lock.
    Shared(Bytes),
}

impl Default for Payload {
    fn default() -> Self {
        Self::Buffer(Vec::new())
    }
}

/// The header that says the trace context where the frame has no place for it.
const TRACEPARENT: &str = "traceparent";

/// More bytes than that header takes in version 1.
pub(crate) const TRACEPARENT_ROOM: usize = 100;

impl Envelope {
    /// Adds what a worker of version 1 would otherwise not get to know.
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

    /// What its worker's lines are attributed to.
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

    /// The memory, if it can be used for another call.
    pub(crate) fn into_buffer(self) -> Option<Vec<u8>> {
        match self {
            Self::Buffer(buffer) => Some(buffer),
            Self::Shared(_) => None,
        }
    }

    /// The payload's memory, from now on shared with whoever gets this.
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

/// Drops what may be the user's own. If that panics, it is nobody's whose thread this is: the panic hook has told of it.
pub(crate) fn discard(payload: Bytes) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
}
