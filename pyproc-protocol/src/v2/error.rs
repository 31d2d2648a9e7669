use crate::{MAX_ID, MessageError};

/// A frame that is not a message of version 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame ends within a part.
    #[error("the frame of {len} bytes ends within its {part}, which begins at byte {offset}")]
    Truncated {
        /// The incomplete part.
        part: &'static str,
        /// The part's offset in the frame's body, in bytes.
        offset: usize,
        /// Size of the frame's body in bytes.
        len: usize,
    },
    /// More bytes follow the message's last part.
    #[error("the message of kind 0x{kind:02x} is followed by {count} bytes that mean nothing")]
    TrailingBytes {
        /// The message's kind.
        kind: u8,
        /// Number of bytes that follow.
        count: usize,
    },
    /// An unknown kind of those that a receiver must understand.
    #[error("messages of kind 0x{kind:02x} are unknown")]
    UnknownKind {
        /// The message's kind.
        kind: u8,
    },
    /// Unknown flags of those that a receiver must understand.
    #[error("the flags 0x{flags:02x} of a message of kind 0x{kind:02x} are unknown")]
    UnknownFlags {
        /// The message's kind.
        kind: u8,
        /// The unknown flags.
        flags: u8,
    },
    /// A text that is not UTF-8.
    #[error("the {part} is not UTF-8: {source}")]
    Utf8 {
        /// The text's name.
        part: &'static str,
        /// The cause, with its position.
        r#source: std::str::Utf8Error,
    },
    /// A request's id is out of range.
    #[error("a request cannot have id {id}; ids go from 1 to {MAX_ID}")]
    RequestId {
        /// The id.
        id: u64,
    },
    /// A header that occurs twice.
    #[error("the header `{name}` occurs twice")]
    RepeatedHeader {
        /// The header's name.
        name: String,
    },
    /// The headers exceed a limit.
    #[error(transparent)]
    Headers(MessageError),
}
