use crate::{MAX_ID, MessageError};

/// A frame that is no message of version 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame ends before its message does.
    #[error("the frame of {len} bytes ends within its {part}, which begins at byte {offset}")]
    Truncated {
        /// What is incomplete.
        part: &'static str,
        /// Where it begins.
        offset: usize,
        /// Size of the frame's body in bytes.
        len: usize,
    },
    /// Bytes follow the message's last part.
    #[error("the message of kind 0x{kind:02x} is followed by {count} bytes that mean nothing")]
    TrailingBytes {
        /// The message's kind.
        kind: u8,
        /// How many bytes there are.
        count: usize,
    },
    /// A kind that must be understood and is not.
    #[error("messages of kind 0x{kind:02x} are unknown")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// Flags that must be understood and are not.
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
        /// Which text.
        part: &'static str,
        /// Where it goes wrong.
        r#source: std::str::Utf8Error,
    },
    /// A request whose id no answer could carry.
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
    /// The headers break a limit.
    #[error(transparent)]
    Headers(MessageError),
}
