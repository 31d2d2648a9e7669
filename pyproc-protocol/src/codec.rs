//! [`tokio_util::codec`] implementations for messages of version 1, for `Framed`, `FramedRead` and `FramedWrite`.
//!
//! ```
//! use bytes::BytesMut;
//! use pyproc_protocol::{codec::MessageCodec, v1::{Message, RawJson, Response}};
//! use tokio_util::codec::{Decoder, Encoder};
//!
//! let mut codec = MessageCodec::default();
//! let response = Response::success(1, RawJson::NULL);
//! let mut wire = BytesMut::new();
//! codec.encode(response.clone(), &mut wire)?;
//! assert_eq!(codec.decode(&mut wire)?, Some(Message::Response(response)));
//! # Ok::<(), pyproc_protocol::codec::CodecError>(())
//! ```

use std::{error::Error, fmt, io};

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    Cancellation, DEFAULT_MAX_FRAME_SIZE, EncodeError, FrameDecoder, FrameError, MessageError,
    Version,
    v1::{Message, Request, Response},
};

/// Decodes any [`Message`]; encodes requests, responses and cancellations.
#[derive(Debug)]
pub struct MessageCodec {
    decoder: FrameDecoder,
    max_frame_size: usize,
    scratch: Vec<u8>,
}

/// Why a stream of messages ended. The text includes the cause; `source()` returns the cause of the cause.
#[derive(Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// The connection failed.
    Io(io::Error),
    /// The peer sent bytes that are not frames.
    Frame(FrameError),
    /// The peer sent a frame that is not a message.
    Message(MessageError),
    /// The message cannot be encoded.
    Encode(EncodeError),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection failed: {error}"),
            Self::Frame(error) => write!(f, "the peer sent bytes that are not frames: {error}"),
            Self::Message(error) => {
                write!(f, "the peer sent a frame that is not a message: {error}")
            }
            Self::Encode(error) => write!(f, "the message cannot be sent: {error}"),
        }
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::Frame(error) => error.source(),
            Self::Message(error) => error.source(),
            Self::Encode(error) => error.source(),
        }
    }
}

impl From<io::Error> for CodecError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FrameError> for CodecError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<MessageError> for CodecError {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

impl From<EncodeError> for CodecError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl MessageCodec {
    /// A codec that neither decodes nor encodes bodies of more than `max_frame_size` bytes.
    pub fn new(max_frame_size: usize) -> Self {
        Self {
            decoder: FrameDecoder::new(max_frame_size),
            max_frame_size,
            scratch: Vec::new(),
        }
    }

    fn write(
        &mut self,
        out: &mut BytesMut,
        encode: impl FnOnce(usize, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), CodecError> {
        self.scratch.clear();
        encode(self.max_frame_size, &mut self.scratch)?;
        out.extend_from_slice(&self.scratch);
        self.scratch.shrink_to(64 * 1024);
        Ok(())
    }
}

impl Default for MessageCodec {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_FRAME_SIZE)
    }
}

impl Decoder for MessageCodec {
    type Item = Message;
    type Error = CodecError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Message>, CodecError> {
        match self.decoder.decode(input)? {
            Some(frame) => Ok(Some(Message::decode(&frame)?)),
            None => Ok(None),
        }
    }
}

impl Encoder<Request> for MessageCodec {
    type Error = CodecError;

    fn encode(&mut self, request: Request, out: &mut BytesMut) -> Result<(), CodecError> {
        self.write(out, |max, buffer| request.encode(max, buffer))
    }
}

impl Encoder<Response> for MessageCodec {
    type Error = CodecError;

    fn encode(&mut self, response: Response, out: &mut BytesMut) -> Result<(), CodecError> {
        self.write(out, |max, buffer| response.encode(max, buffer))
    }
}

impl Encoder<Cancellation> for MessageCodec {
    type Error = CodecError;

    fn encode(&mut self, it: Cancellation, out: &mut BytesMut) -> Result<(), CodecError> {
        self.write(out, |max, buffer| it.encode(Version::V1, max, buffer))
    }
}
