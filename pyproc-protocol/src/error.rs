//! The text of each error includes its cause, so `source()` returns nothing. Hence `r#source`, which thiserror does not
//! treat as a source.

use crate::{MAX_FUNCTIONS, MAX_HEADER_BYTES, MAX_HEADERS, MAX_ID};

/// Bytes that are not frames. Close the connection: nothing after them can be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length prefix announces more bytes than the receiver allows.
    #[error(
        "the frame at byte {offset} of the stream announces {len} bytes, the limit is {max}: \
         send less at once, or raise the maximum frame size (`max_frame_size`, `PYPROC_MAX_FRAME_SIZE`) on both sides"
    )]
    TooLarge {
        /// The announced size in bytes.
        len: usize,
        /// The receiver's maximum in bytes.
        max: usize,
        /// The prefix's offset in the stream, in bytes.
        offset: u64,
    },
    /// The length prefix is zero; every message has at least one byte.
    #[error("the frame at byte {offset} of the stream is empty")]
    Empty {
        /// The prefix's offset in the stream, in bytes.
        offset: u64,
    },
}

/// A frame that is not a message of a version that this crate supports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The first byte belongs to no version.
    #[error("a message cannot begin with byte 0x{first:02x}; version 1 begins with '{{'")]
    UnknownVersion {
        /// The frame's first byte.
        first: u8,
    },
    /// The body is not a JSON object with the expected keys and types.
    #[error("the frame of {len} bytes is not a valid message: {source}")]
    Json {
        /// Size of the body in bytes.
        len: usize,
        /// The cause, with line and column.
        r#source: serde_json::Error,
    },
    /// A required key is missing.
    #[error("the message lacks the key `{key}`")]
    MissingKey {
        /// The key's name.
        key: &'static str,
    },
    /// A request's id is out of range.
    #[error("a request cannot have id {id}; ids go from 1 to {MAX_ID}")]
    RequestId {
        /// The id.
        id: u64,
    },
    /// The message has too many headers.
    #[error("the message has {count} headers, the limit is {MAX_HEADERS}")]
    TooManyHeaders {
        /// Their number.
        count: usize,
    },
    /// The headers are too large.
    #[error("the headers take {size} bytes, the limit is {MAX_HEADER_BYTES}")]
    HeadersTooLarge {
        /// Size in bytes of all names and values together.
        size: usize,
    },
    /// The response to a hello lists too many functions.
    #[error("the worker lists {count} functions, the limit is {MAX_FUNCTIONS}")]
    TooManyFunctions {
        /// Their number.
        count: usize,
    },
}

/// A message that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value cannot be represented in JSON.
    #[error("the value cannot be written as JSON: {0}")]
    Json(serde_json::Error),
    /// The value cannot be represented in MessagePack.
    #[error("the value cannot be written as MessagePack: {0}")]
    MessagePack(String),
    /// The message is larger than the maximum frame size.
    #[error(
        "the message is larger than the maximum frame size of {max} bytes: \
         send less at once, or raise the maximum (`max_frame_size`, `PYPROC_MAX_FRAME_SIZE`) on both sides"
    )]
    TooLarge {
        /// The maximum frame size in bytes.
        max: usize,
    },
    /// A part is longer than its length field allows.
    #[error("the {part} of {len} bytes is longer than {max} bytes")]
    PartTooLong {
        /// The part.
        part: &'static str,
        /// Its size in bytes.
        len: usize,
        /// The maximum in bytes.
        max: usize,
    },
    /// The headers exceed a limit.
    #[error(transparent)]
    Headers(MessageError),
    /// The payload is not JSON, and version 1 supports JSON only.
    #[error("version 1 of the protocol carries JSON only; the peer does not speak version 2")]
    NotJson,
}
