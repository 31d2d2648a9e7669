use std::time::Duration;

use bytes::Bytes;

use crate::{Cancellation, Codec, Failure, Headers, Times, TraceContext};

/// A message of version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Asks a worker to run a function.
    Request(Request),
    /// The result of a request, or its error.
    Response(Response),
    /// The client no longer waits for a response.
    Cancellation(Cancellation),
    /// Checks that the worker responds.
    Ping(Ping),
    /// The response to a ping.
    Pong(Pong),
    /// A worker accepts no more requests, or a client sends no more.
    Drain,
    /// Records of telemetry, not decoded; see [`telemetry::decode_records`](super::telemetry::decode_records). They share
    /// the frame's memory.
    Telemetry(Bytes),
    /// A message of a kind that this crate does not know and that may be skipped.
    Unknown {
        /// The message's kind.
        kind: u8,
    },
}

impl Message {
    /// The message's name in errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Response(_) => "response",
            Self::Cancellation(_) => "cancellation",
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::Drain => "drain",
            Self::Telemetry(_) => "telemetry",
            Self::Unknown { .. } => "message of an unknown kind",
        }
    }
}

/// Asks a worker to run a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Unique among the outstanding requests of the connection; from 1 to [`MAX_ID`](crate::MAX_ID).
    pub id: u64,
    /// The function to run.
    pub method: Method,
    /// The trace that the call belongs to.
    pub trace: Option<TraceContext>,
    /// Time left for the call when the request is sent. On the wire in nanoseconds, at most 2^64 − 1 (584 years).
    pub deadline: Option<Duration>,
    /// Asks for [`Times`] in the response.
    pub wants_times: bool,
    /// Metadata; takes no bytes if empty.
    pub headers: Headers,
    /// The function's argument.
    pub body: Body,
}

impl Request {
    /// A request with the required parts only.
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
    /// By its index in the table of the worker's hello, from 0.
    Index(u16),
    /// By its name, for a function that is not in the table.
    Name(String),
}

/// An argument or a result: encoded bytes and their codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The bytes' codec.
    pub codec: Codec,
    /// The encoded bytes; they share the frame's memory.
    pub bytes: Bytes,
}

impl Body {
    /// A body of JSON. The bytes are not checked.
    pub fn json(bytes: Bytes) -> Self {
        let codec = Codec::Json;
        Self { codec, bytes }
    }
}

/// The response to the request with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The request's id; 0 for an error that belongs to no request.
    pub id: u64,
    /// When the function ran, if the request asked for it.
    pub times: Option<Times>,
    /// The function's result, or its error. An error is boxed because it is large and rare.
    pub result: Result<Body, Box<Failure>>,
}

impl Response {
    /// The function returned `body`.
    pub fn success(id: u64, body: Body) -> Self {
        Self {
            id,
            times: None,
            result: Ok(body),
        }
    }

    /// The function failed.
    pub fn failure(id: u64, failure: Failure) -> Self {
        Self {
            id,
            times: None,
            result: Err(failure.into()),
        }
    }
}

/// Asks for a pong with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Any number.
    pub id: u64,
}

/// The response to the ping with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The ping's id.
    pub id: u64,
}
