use std::time::Duration;

use crate::{
    EncodeError, Headers, LENGTH_PREFIX, Version, message, v1,
    v2::{self, Codec, TraceContext},
};

/// Bytes of `{"id":` and the longest id.
const LONGEST_ID_PART: usize = 6 + 16;

/// All of a request but its payload, for whichever version the worker speaks.
///
/// A scheduler has the payload written once, outside of any lock, and writes the head when it knows
/// which connection takes the call. A large payload need not be copied: see [`begin`](Self::begin).
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
    /// Unique among the unanswered requests of the connection; from 1 to [`MAX_ID`](crate::MAX_ID).
    pub id: u64,
    /// The function's name.
    pub method: &'a str,
    /// Its place in the table of the worker's hello: sent in place of the name. Version 1 has no
    /// such thing.
    pub index: Option<u16>,
    /// The trace that the call belongs to. Not sent in version 1, where a header does it.
    pub trace: Option<TraceContext>,
    /// Time that is left for the call. Not sent in version 1.
    pub deadline: Option<Duration>,
    /// The answer shall say when the function ran. Not sent in version 1.
    pub wants_times: bool,
    /// Metadata; takes no bytes when empty.
    pub headers: &'a Headers,
    /// How to read the payload. In version 1 always JSON.
    pub codec: Codec,
}

/// What follows the payload of a request.
#[derive(Debug)]
#[must_use = "the frame is not complete without it"]
pub enum Closing {
    /// Nothing.
    Nothing,
    /// The end of a JSON object.
    Brace,
    /// The headers of version 1, and the end.
    Headers(Vec<u8>),
}

impl<'a> RequestHead<'a> {
    /// A head with no more than it needs, for a payload of JSON.
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

    /// Bytes that a payload may have so that its frame is no larger than `max_frame_size`, whatever
    /// the version, the id and the rest of the head.
    pub fn room(method: &str, headers: &Headers, max_frame_size: usize) -> usize {
        let longest_v1 = LONGEST_ID_PART
            + v1::json_size(method)
            + b",\"method\":,\"body\":".len()
            + Closing::of_v1(headers).as_bytes().len();
        let longest = longest_v1.max(v2::longest_head(method, headers));
        max_frame_size
            .min(u32::MAX as usize)
            .saturating_sub(longest)
    }

    /// Appends the whole request as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`, a name too long, the headers break a limit, or the payload is
    /// no JSON and the version is 1.
    pub fn encode(
        &self,
        version: Version,
        payload: &[u8],
        max_frame_size: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let closing = self.begin(version, payload.len(), max_frame_size, out)?;
        out.extend_from_slice(payload);
        out.extend_from_slice(closing.as_bytes());
        Ok(())
    }

    /// Appends all that comes before a payload of `len` bytes to `out`. The payload must follow, and
    /// then what is returned. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode).
    pub fn begin(
        &self,
        version: Version,
        len: usize,
        max_frame_size: usize,
        out: &mut Vec<u8>,
    ) -> Result<Closing, EncodeError> {
        message::check(self.headers).map_err(EncodeError::Headers)?;
        match version {
            Version::V1 if self.codec != Codec::Json => Err(EncodeError::NotJson),
            Version::V1 => self.begin_v1(len, max_frame_size, out),
            Version::V2 => {
                v2::request_head(self, len, max_frame_size, out).map(|()| Closing::Nothing)
            }
        }
    }

    fn begin_v1(&self, len: usize, max: usize, out: &mut Vec<u8>) -> Result<Closing, EncodeError> {
        let closing = Closing::of_v1(self.headers);
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_PREFIX]);
        out.extend_from_slice(b"{\"id\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.id).as_bytes());
        out.extend_from_slice(b",\"method\":");
        v1::json_infallible(self.method, out);
        out.extend_from_slice(b",\"body\":");
        let size = out.len() - start - LENGTH_PREFIX + len + closing.as_bytes().len();
        let Some(prefix) = u32::try_from(size).ok().filter(|_| size <= max) else {
            out.truncate(start);
            return Err(EncodeError::TooLarge { max });
        };
        out[start..start + LENGTH_PREFIX].copy_from_slice(&prefix.to_be_bytes());
        Ok(closing)
    }
}

impl Closing {
    fn of_v1(headers: &Headers) -> Self {
        if headers.is_empty() {
            return Self::Brace;
        }
        let mut closing = b",\"headers\":".to_vec();
        v1::json_infallible(headers, &mut closing);
        closing.push(b'}');
        Self::Headers(closing)
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => b"",
            Self::Brace => b"}",
            Self::Headers(bytes) => bytes,
        }
    }
}
