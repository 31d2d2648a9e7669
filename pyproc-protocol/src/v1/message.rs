use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::decode::{self, Sender};
use crate::{
    ERROR_TRACEBACK, ERROR_TYPE, Headers, MAX_HEADER_BYTES, MessageError, RawJson,
    v2::{self, Failure},
};

/// What a frame of version 1 says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Run a function.
    Request(Request),
    /// What became of a request.
    Response(Response),
    /// Nobody waits for a request's answer any more.
    Cancellation(Cancellation),
    /// A wrapped message of a type that this crate does not know. Skip it.
    Unknown {
        /// The message's `type`.
        kind: String,
    },
}

/// Asks a worker to run a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Unique among the unanswered requests of the connection; from 1 to
    /// [`MAX_ID`](crate::MAX_ID). 0 is that of a client without ids, which tells its answers apart by their order.
    pub id: u64,
    /// Name of the function.
    pub method: String,
    /// Its argument.
    pub body: RawJson,
    /// Metadata; not written when empty.
    pub headers: Headers,
}

impl Request {
    /// A request without headers.
    pub fn new(id: u64, method: impl Into<String>, body: RawJson) -> Self {
        Self {
            id,
            method: method.into(),
            body,
            headers: Headers::new(),
        }
    }
}

/// Answers the request of the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The request's id; 0 when the worker could not tell which.
    pub id: u64,
    /// The function's result, or why there is none.
    pub result: Result<RawJson, String>,
    /// Details; not written when empty.
    pub headers: Headers,
}

impl Response {
    /// The function returned `body`.
    pub fn success(id: u64, body: RawJson) -> Self {
        Self {
            id,
            result: Ok(body),
            headers: Headers::new(),
        }
    }

    /// The function failed.
    pub fn failure(id: u64, error: impl Into<String>) -> Self {
        Self {
            id,
            result: Err(error.into()),
            headers: Headers::new(),
        }
    }
}

impl Response {
    /// A failure in the words of version 1: its type and traceback are headers, if they are asked for, and as far as
    /// headers may be long.
    pub(crate) fn of_failure(id: u64, failure: &Failure, details: bool) -> Self {
        let mut response = Self::failure(id, &failure.message);
        if details {
            let mut add = |name: &str, text: &str| {
                if !text.is_empty() {
                    response.headers.insert(name.into(), text.into());
                }
            };
            let type_name = head(&failure.type_name, MAX_HEADER_BYTES / 2 - ERROR_TYPE.len());
            add(ERROR_TYPE, type_name);
            let used = ERROR_TYPE.len() + type_name.len() + ERROR_TRACEBACK.len();
            add(
                ERROR_TRACEBACK,
                tail(&failure.traceback, MAX_HEADER_BYTES - used),
            );
        }
        response
    }
}

/// At most the first `max` bytes of a text.
fn head(text: &str, max: usize) -> &str {
    let cuts = (0..=max.min(text.len())).rev();
    let end = cuts.into_iter().find(|cut| text.is_char_boundary(*cut));
    &text[..end.unwrap_or(0)]
}

/// At most the last `max` bytes of a text: of a traceback, they tell most.
fn tail(text: &str, max: usize) -> &str {
    let mut cuts = text.len().saturating_sub(max)..=text.len();
    let start = cuts.find(|cut| text.is_char_boundary(*cut));
    &text[start.unwrap_or(text.len())..]
}

/// In the terms of version 2, which are those of this crate's sessions.
impl From<Request> for v2::Request {
    fn from(request: Request) -> Self {
        let method = v2::Method::Name(request.method);
        Self {
            headers: request.headers,
            ..Self::new(request.id, method, request.body.into())
        }
    }
}

impl From<Response> for v2::Answer {
    fn from(response: Response) -> Self {
        let mut headers = response.headers;
        let mut header = |key: &str| headers.remove(key).unwrap_or_default();
        let failure = |message| {
            Box::new(Failure {
                type_name: header(ERROR_TYPE),
                traceback: header(ERROR_TRACEBACK),
                message,
                retryable: false,
            })
        };
        Self {
            id: response.id,
            times: None,
            result: response.result.map(Into::into).map_err(failure),
        }
    }
}

impl From<RawJson> for v2::Body {
    fn from(json: RawJson) -> Self {
        Self::json(json.into_bytes())
    }
}

/// Tells a worker that nobody waits for an answer any more. It gets no answer of
/// its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// The request's id.
    pub id: u64,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

impl Message {
    /// Reads the body of one frame that a client sent: whatever has no `type` is a request.
    ///
    /// Bodies of requests and responses stay as they are: they share `frame`'s memory. A request without an id has the id 0.
    ///
    /// # Errors
    ///
    /// When the frame is no message of version 1, or breaks a limit.
    pub fn of_client(frame: &Bytes) -> Result<Self, MessageError> {
        decode::read(frame, Sender::Client)
    }

    /// Reads the body of one frame that a worker sent: whatever has no `type` is a response.
    ///
    /// # Errors
    ///
    /// As for [`of_client`](Self::of_client).
    pub fn of_worker(frame: &Bytes) -> Result<Self, MessageError> {
        decode::read(frame, Sender::Worker)
    }

    /// Reads the body of one frame of either side: one with `ok` is a response. Who knows the sender uses
    /// [`of_client`](Self::of_client) or [`of_worker`](Self::of_worker), which ignore keys of the other side.
    ///
    /// # Errors
    ///
    /// As for [`of_client`](Self::of_client).
    pub fn decode(frame: &Bytes) -> Result<Self, MessageError> {
        decode::read(frame, Sender::Either)
    }

    /// What to call this message in an error.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Response(_) => "response",
            Self::Cancellation(_) => "cancellation",
            Self::Unknown { .. } => "message of an unknown type",
        }
    }
}
