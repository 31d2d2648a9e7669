use std::time::Duration;

use super::{Codec, Headers, TraceContext};

/// A request without its payload, for a worker of either version.
///
/// A scheduler encodes the payload once, outside of any lock. It writes the head when it knows which connection takes
/// the call. A large payload need not be copied: see [`begin`](Self::begin).
///
/// ```
/// # use pyproc_protocol::{Headers, RequestHead, Version};
/// let headers = Headers::new();
/// let head = RequestHead::new(7, "predict", &headers);
/// let mut wire = Vec::new();
/// head.encode(Version::V1, br#"{"value":42}"#, 1024, &mut wire)?;
/// assert_eq!(&wire[4..], br#"{"id":7,"method":"predict","body":{"value":42}}"#);
/// # Ok::<(), pyproc_protocol::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// Unique among the outstanding requests of the connection; from 1 to [`MAX_ID`](crate::MAX_ID).
    pub id: u64,
    /// The function's name.
    pub method: &'a str,
    /// The function's index in the table of the worker's hello, sent in place of the name. Version 1 does not send it.
    pub index: Option<u16>,
    /// The trace that the call belongs to. Version 1 does not send it; a header takes its place there.
    pub trace: Option<TraceContext>,
    /// Time left for the call. Version 1 does not send it.
    pub deadline: Option<Duration>,
    /// Asks for [`Times`](crate::Times) in the response. Version 1 does not send it.
    pub wants_times: bool,
    /// Metadata; takes no bytes if empty.
    pub headers: &'a Headers,
    /// The payload's codec. Version 1 supports JSON only.
    pub codec: Codec,
}

impl<'a> RequestHead<'a> {
    /// A head with the required parts only, for a payload of JSON.
    pub fn new(id: u64, method: &'a str, headers: &'a Headers) -> Self {
        Self {
            id,
            method,
            index: None,
            trace: None,
            deadline: None,
            wants_times: false,
            headers,
            codec: Codec::Json,
        }
    }
}

/// The bytes of a request that follow its payload.
#[derive(Debug)]
#[must_use = "the frame is not complete without it"]
pub enum RequestTail {
    /// No bytes: version 2.
    Empty,
    /// The end of the JSON object: version 1 without headers.
    Brace,
    /// The headers and the end of the JSON object: version 1.
    Headers(Vec<u8>),
}

impl RequestTail {
    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Empty => b"",
            Self::Brace => b"}",
            Self::Headers(bytes) => bytes,
        }
    }
}
