use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Says that the client no longer waits for the response to a request. A cancellation has no response of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// The request's id.
    pub id: u64,
    /// The reason, for people.
    #[serde(default)]
    pub reason: String,
}

/// The encoding of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// JSON in UTF-8, the default.
    Json,
    /// MessagePack.
    MessagePack,
    /// Raw bytes.
    Raw,
    /// A codec that this crate does not know: an error of the call, not of the connection.
    Unknown(u8),
}

/// The identity of a span, as in W3C Trace Context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// The span's id.
    pub span_id: [u8; 8],
    /// The trace flags. The lowest bit is set if the trace is sampled.
    pub flags: u8,
}

/// The format of W3C's header `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, span_id) = (
            u128::from_be_bytes(self.trace_id),
            u64::from_be_bytes(self.span_id),
        );
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", self.flags)
    }
}

/// When a function ran, by the worker's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Its start: time since the Unix epoch. On the wire in nanoseconds.
    pub start: Duration,
    /// Its duration, by a monotonic clock. On the wire in nanoseconds.
    pub duration: Duration,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// The exception's qualified name; empty if the worker does not send it.
    pub type_name: String,
    /// The exception's message.
    pub message: String,
    /// The formatted traceback; empty if there is none.
    pub traceback: String,
    /// Whether the same request may succeed if it is sent again.
    pub retryable: bool,
}
