use super::RawJson;
use crate::{Cancellation, ERROR_TRACEBACK, ERROR_TYPE, Failure, Headers, MAX_HEADER_BYTES};

/// A message of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Asks a worker to run a function.
    Request(Request),
    /// The result of a request, or its error.
    Response(Response),
    /// The client no longer waits for a response.
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
    /// Unique among the outstanding requests of the connection; from 1 to [`MAX_ID`](crate::MAX_ID). A client without
    /// ids sends 0: it matches responses to requests by their order.
    pub id: u64,
    /// The function's name.
    pub method: String,
    /// The function's argument.
    pub body: RawJson,
    /// Metadata; left out of the frame if empty.
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

/// The response to the request with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The request's id; 0 for an error that belongs to no request.
    pub id: u64,
    /// The function's result, or the error's message.
    pub result: Result<RawJson, String>,
    /// Details of the error; left out of the frame if empty.
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

    /// A failure in the format of version 1. With `details`, its type and traceback become headers, shortened to the
    /// limits on headers.
    pub(crate) fn from_failure(id: u64, failure: &Failure, details: bool) -> Self {
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

/// At most the last `max` bytes of a text: the most useful part of a traceback.
fn tail(text: &str, max: usize) -> &str {
    let mut cuts = text.len().saturating_sub(max)..=text.len();
    let start = cuts.find(|cut| text.is_char_boundary(*cut));
    &text[start.unwrap_or(text.len())..]
}

impl Message {
    /// The message's name in errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Response(_) => "response",
            Self::Cancellation(_) => "cancellation",
            Self::Unknown { .. } => "message of an unknown type",
        }
    }
}
