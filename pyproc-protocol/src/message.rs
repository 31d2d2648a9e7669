use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    ERROR_TRACEBACK, ERROR_TYPE, Headers, MAX_HEADER_BYTES, MAX_ID, MessageError, RawJson, headers,
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
    /// [`MAX_ID`](crate::MAX_ID).
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
    /// Reads the body of one frame.
    ///
    /// Bodies of requests and responses stay as they are: they share `frame`'s memory.
    ///
    /// # Errors
    ///
    /// When the frame is no message of version 1, or breaks a limit.
    pub fn decode(frame: &Bytes) -> Result<Self, MessageError> {
        match frame.first() {
            Some(b'{') => Envelope::parse(frame, frame)?.into_message(frame),
            first => Err(MessageError::UnknownVersion {
                first: first.copied().unwrap_or_default(),
            }),
        }
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

/// All keys of all messages, so that one pass over the frame tells which it is.
#[derive(Deserialize)]
struct Envelope<'a> {
    id: Option<u64>,
    ok: Option<bool>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(default)]
    headers: Option<Headers>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn parse(frame: &Bytes, json: &'a [u8]) -> Result<Self, MessageError> {
        serde_json::from_slice(json).map_err(|source| MessageError::Json {
            len: frame.len(),
            source,
        })
    }

    fn into_message(self, frame: &Bytes) -> Result<Message, MessageError> {
        let Some(kind) = &self.kind else {
            return self.into_plain(frame);
        };
        let payload = self.payload.map_or(&b"{}"[..], |p| p.get().as_bytes());
        match kind.as_ref() {
            "request" => Self::parse(frame, payload)?.into_request(frame),
            "response" => Self::parse(frame, payload)?.into_response(frame),
            "cancellation" => serde_json::from_slice(payload)
                .map(Message::Cancellation)
                .map_err(|source| MessageError::Json {
                    len: frame.len(),
                    source,
                }),
            other => Ok(Message::Unknown { kind: other.into() }),
        }
    }

    fn into_plain(self, frame: &Bytes) -> Result<Message, MessageError> {
        if self.ok.is_some() {
            self.into_response(frame)
        } else {
            self.into_request(frame)
        }
    }

    fn into_request(self, frame: &Bytes) -> Result<Message, MessageError> {
        Ok(Message::Request(Request {
            id: request_id(self.id)?,
            method: required(self.method, "method")?.into_owned(),
            body: raw(frame, self.body),
            headers: checked(self.headers)?,
        }))
    }

    fn into_response(self, frame: &Bytes) -> Result<Message, MessageError> {
        Ok(Message::Response(Response {
            id: required(self.id, "id")?,
            result: if required(self.ok, "ok")? {
                Ok(raw(frame, self.body))
            } else {
                Err(self.error.unwrap_or(Cow::Borrowed("")).into_owned())
            },
            headers: checked(self.headers)?,
        }))
    }
}

fn request_id(id: Option<u64>) -> Result<u64, MessageError> {
    match required(id, "id")? {
        id @ 1..=MAX_ID => Ok(id),
        id => Err(MessageError::RequestId { id }),
    }
}

fn required<T>(value: Option<T>, key: &'static str) -> Result<T, MessageError> {
    value.ok_or(MessageError::MissingKey { key })
}

fn raw(frame: &Bytes, body: Option<&RawValue>) -> RawJson {
    body.map_or(RawJson::NULL, |body| RawJson::within(frame, body))
}

fn checked(headers: Option<Headers>) -> Result<Headers, MessageError> {
    let headers = headers.unwrap_or_default();
    headers::check(&headers)?;
    Ok(headers)
}
