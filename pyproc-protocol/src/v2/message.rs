use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{Cancellation, Headers};

/// What a frame of version 2 says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Run a function.
    Request(Request),
    /// What became of a request.
    Answer(Answer),
    /// Nobody waits for a request's answer any more.
    Cancel(Cancellation),
    /// Are you there?
    Ping(Ping),
    /// I am here.
    Pong(Pong),
    /// The sender takes no more requests, or sends none.
    Drain,
    /// What the worker saw, not yet read; [`telemetry::records`](super::telemetry::records) reads it. It shares the
    /// frame's memory.
    Telemetry(Bytes),
    /// A message that this crate does not know and that may be skipped.
    Skippable {
        /// Its kind.
        kind: u8,
    },
}

impl Message {
    /// What to call this message in an error.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Answer(_) => "response",
            Self::Cancel(_) => "cancellation",
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::Drain => "drain",
            Self::Telemetry(_) => "telemetry",
            Self::Skippable { .. } => "message of an unknown kind",
        }
    }
}

/// Asks a worker to run a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Unique among the unanswered requests of the connection; from 1 to
    /// [`MAX_ID`](crate::MAX_ID).
    pub id: u64,
    /// The function.
    pub method: Method,
    /// The trace that the call belongs to.
    pub trace: Option<TraceContext>,
    /// Time that is left for the call when the request is sent. On the wire in nanoseconds; longer
    /// than 584 years is written as that.
    pub deadline: Option<Duration>,
    /// The answer shall say when the function ran.
    pub wants_times: bool,
    /// Metadata; takes no bytes when empty.
    pub headers: Headers,
    /// The argument.
    pub body: Body,
}

impl Request {
    /// A request with no more than it needs.
    pub fn new(id: u64, method: Method, body: Body) -> Self {
        Self {
            id,
            method,
            trace: None,
            deadline: None,
            wants_times: false,
            headers: Headers::new(),
            body,
        }
    }
}

/// How a request names its function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// By its place in the table of the worker's hello, from 0.
    Index(u16),
    /// By its name, for a function that is not in the table.
    Name(String),
}

/// The identity of a span, as W3C trace context has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// The span's id.
    pub span_id: [u8; 8],
    /// The trace flags; the lowest bit says that the trace is sampled.
    pub flags: u8,
}

/// The form of W3C's header `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, span_id) = (
            u128::from_be_bytes(self.trace_id),
            u64::from_be_bytes(self.span_id),
        );
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", self.flags)
    }
}

/// An argument or a result: bytes, and how to read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// How to read the bytes.
    pub codec: Codec,
    /// The bytes; they share the frame's memory.
    pub bytes: Bytes,
}

impl Body {
    /// A body of JSON, which is not looked at.
    pub fn json(bytes: Bytes) -> Self {
        let codec = Codec::Json;
        Self { codec, bytes }
    }
}

/// How the bytes of a body are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// JSON in UTF-8, the default.
    Json,
    /// MessagePack.
    MessagePack,
    /// As they are.
    Raw,
    /// One that this crate does not know: an error of the call, not of the connection.
    Unknown(u8),
}

/// What became of the request of the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request's id; 0 for a failure that belongs to no request.
    pub id: u64,
    /// When the function ran, if the request asked.
    pub times: Option<Times>,
    /// The function's result, or why there is none: that is rare and long, and elsewhere.
    pub result: Result<Body, Box<Failure>>,
}

impl Answer {
    /// The function returned `body`.
    pub fn success(id: u64, body: Body) -> Self {
        Self {
            id,
            times: None,
            result: Ok(body),
        }
    }

    /// There is no result.
    pub fn failure(id: u64, failure: Failure) -> Self {
        Self {
            id,
            times: None,
            result: Err(failure.into()),
        }
    }
}

/// When a function ran, by the worker's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it began: time since the Unix epoch. On the wire in nanoseconds.
    pub start: Duration,
    /// How long it took, by a clock that is never set. On the wire in nanoseconds.
    pub duration: Duration,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// The exception's qualified name; empty when the worker does not say.
    pub type_name: String,
    /// The exception's text.
    pub message: String,
    /// The formatted traceback; empty when there is none.
    pub traceback: String,
    /// The same request may succeed when it is made again.
    pub retryable: bool,
}

/// Asks for a pong of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Any number.
    pub id: u64,
}

/// Answers the ping of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The ping's id.
    pub id: u64,
}
