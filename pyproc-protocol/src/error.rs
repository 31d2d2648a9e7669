//! Each error's text names its cause, and the cause of that. `source()` is what lies below these, which is nothing:
//! hence `r#source`, which thiserror takes for no source.

use crate::{MAX_FUNCTIONS, MAX_HEADER_BYTES, MAX_HEADERS, MAX_ID, v2};

/// Bytes that cannot be cut into frames. The connection is of no use afterwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length prefix asks for more than the receiver allows.
    #[error(
        "the frame at byte {offset} of the stream announces {len} bytes, the limit is {max}: \
         send less at once, or raise the maximum frame size on both sides"
    )]
    TooLarge {
        /// Bytes that the prefix announces.
        len: usize,
        /// The receiver's maximum.
        max: usize,
        /// Where in the stream the prefix begins.
        offset: u64,
    },
    /// The length prefix is zero, which no message has.
    #[error("the frame at byte {offset} of the stream is empty")]
    Empty {
        /// Where in the stream the prefix begins.
        offset: u64,
    },
}

/// A frame that is no message of a version that this crate knows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The first byte belongs to no version.
    #[error("a message cannot begin with byte 0x{first:02x}; version 1 begins with '{{'")]
    UnknownVersion {
        /// The frame's first byte.
        first: u8,
    },
    /// The body is no JSON object of the expected shape.
    #[error("the frame of {len} bytes is no valid message: {source}")]
    Json {
        /// Size of the body in bytes.
        len: usize,
        /// What is wrong, with line and column.
        r#source: serde_json::Error,
    },
    /// A key without which the message means nothing.
    #[error("the message lacks the key `{key}`")]
    MissingKey {
        /// The key's name.
        key: &'static str,
    },
    /// A request whose id no answer could carry.
    #[error("a request cannot have id {id}; ids go from 1 to {MAX_ID}")]
    RequestId {
        /// The id.
        id: u64,
    },
    /// More headers than allowed.
    #[error("the message has {count} headers, the limit is {MAX_HEADERS}")]
    TooManyHeaders {
        /// How many there are.
        count: usize,
    },
    /// Headers larger than allowed.
    #[error("the headers take {size} bytes, the limit is {MAX_HEADER_BYTES}")]
    HeadersTooLarge {
        /// Bytes of all names and values together.
        size: usize,
    },
    /// A hello that lists more functions than allowed.
    #[error("the worker lists {count} functions, the limit is {MAX_FUNCTIONS}")]
    TooManyFunctions {
        /// How many there are.
        count: usize,
    },
}

/// A message that this side must not send.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value cannot be written as JSON.
    #[error("the value cannot be written as JSON: {0}")]
    Json(serde_json::Error),
    /// The value cannot be written as MessagePack.
    #[error("the value cannot be written as MessagePack: {0}")]
    MessagePack(String),
    /// The message would be larger than a frame may be.
    #[error(
        "the message is larger than the maximum frame size of {max} bytes: \
         send less at once, or raise the maximum on both sides"
    )]
    TooLarge {
        /// The maximum frame size in bytes.
        max: usize,
    },
    /// A part is longer than its length field can say.
    #[error("the {part} of {len} bytes is longer than {max} bytes")]
    PartTooLong {
        /// Which part.
        part: &'static str,
        /// Its size in bytes.
        len: usize,
        /// The most that fits.
        max: usize,
    },
    /// The headers break a limit.
    #[error(transparent)]
    Headers(MessageError),
    /// Only version 2 carries other encodings than JSON.
    #[error("version 1 of the protocol carries JSON only; the peer does not speak version 2")]
    NotJson,
}

/// The peer broke the protocol. Close the connection: nothing on it can be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The bytes are no frames.
    #[error("the peer sent bytes that are no frames: {0}")]
    Frame(FrameError),
    /// The frame is no message.
    #[error("the peer sent a frame that is no message: {0}")]
    Message(MessageError),
    /// The frame is no message of version 2.
    #[error("the peer sent a frame that is no message of version 2: {0}")]
    Binary(v2::DecodeError),
    /// A message that this side never receives, or not at this time.
    #[error("the peer sent a {got} where only a {expected} makes sense")]
    Unexpected {
        /// What arrived.
        got: &'static str,
        /// What would have been in order.
        expected: &'static str,
    },
    /// The answer to the hello has another id.
    #[error("the answer to the hello has id {id}, expected {expected}")]
    HelloId {
        /// The answer's id.
        id: u64,
        /// The hello's id.
        expected: u64,
    },
    /// The hello, or its answer, has a body that makes no sense.
    #[error("the peer's hello makes no sense: {0}")]
    HelloBody(serde_json::Error),
    /// The worker chose a version that was not offered.
    #[error("the worker chose version {version} of the protocol, which was not offered")]
    Version {
        /// The worker's choice.
        version: u32,
    },
    /// The worker ends the connection: it could not read what this side sent, or serves other users.
    #[error("the worker ended the connection: {message}")]
    Refused {
        /// The worker's words.
        message: String,
    },
}

impl From<FrameError> for SessionError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<MessageError> for SessionError {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

impl From<v2::DecodeError> for SessionError {
    fn from(error: v2::DecodeError) -> Self {
        Self::Binary(error)
    }
}

impl SessionError {
    /// What is wrong, for the other end to read, which is this end's peer.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Frame(error) => error.to_string(),
            Self::Message(error) => error.to_string(),
            Self::Binary(error) => error.to_string(),
            Self::Unexpected { got, expected } => format!("expected a {expected}, got a {got}"),
            other => other.to_string(),
        }
    }
}
