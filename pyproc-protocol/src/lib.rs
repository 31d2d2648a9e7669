//! The wire between a service and its Python workers: frames, messages and the
//! handshake, as bytes in and bytes out.
//!
//! Nothing here opens a socket, reads a clock or needs a runtime, so the same code
//! serves a tokio pool, a blocking client and a custom transport. The complete
//! specification is in [`spec`]; it suffices to write a peer in another language.
//!
//! | you have | you want | use |
//! | --- | --- | --- |
//! | bytes that arrived | whole frames | [`FrameDecoder`] |
//! | a frame | what it says | [`Message::of_client`], [`Message::of_worker`] |
//! | a request or response | bytes to send | [`Request::encode`], [`Response::encode`] |
//! | a payload, for a worker of either version | bytes to send | [`RequestHead`], [`encode_json`] |
//! | a result in JSON | a value | [`decode_json`] |
//! | a result or a failure, for a client of either version | bytes to send | [`AnswerForm`], [`AnswerFrame`] |
//! | a connection to a worker | the handshake too | [`Session`] |
//! | a worker to write | the handshake too | [`WorkerSession`] |
//! | a frame of version 2 | what it says | [`v2::Message`] |
//!
//! # Example
//!
//! Both ends of a conversation, with two buffers in place of a socket:
//!
//! ```
//! use bytes::BytesMut;
//! use pyproc_protocol::{Message, RawJson, Request, FrameDecoder, DEFAULT_MAX_FRAME_SIZE};
//!
//! let request = Request::new(1, "predict", RawJson::encode(&serde_json::json!({"value": 42}))?);
//! let mut wire = Vec::new();
//! request.encode(DEFAULT_MAX_FRAME_SIZE, &mut wire)?;
//!
//! let mut decoder = FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE);
//! let frame = decoder.decode(&mut BytesMut::from(&wire[..]))?.expect("the frame is whole");
//! assert_eq!(Message::decode(&frame)?, Message::Request(request));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod call;
mod error;
mod frame;
mod hello;
#[doc(hidden)]
pub mod json;
mod lenient;
mod message;
mod session;
mod v1;
mod version;

#[cfg(feature = "codec")]
pub mod codec;
pub mod v2;

#[doc = include_str!("../SPEC.md")]
pub mod spec {}

#[doc = include_str!("../SPEC-V2.md")]
pub mod spec_v2 {}

pub use call::{AnswerForm, AnswerFrame, Closing, RequestHead};
pub use error::{EncodeError, FrameError, MessageError, SessionError};
pub use frame::{DEFAULT_MAX_FRAME_SIZE, FrameDecoder, LENGTH_PREFIX};
pub use hello::{Features, FunctionInfo, HELLO_METHOD, Hello, MAX_FUNCTIONS, Peer, WorkerInfo};
pub use json::decode_json;
pub use message::{ERROR_TRACEBACK, ERROR_TYPE, Headers, MAX_HEADER_BYTES, MAX_HEADERS};
pub use session::{BegunRequest, Event, Greeting, Session, WorkerEvent, WorkerSession};
pub use v1::{Cancellation, MAX_ID, Message, RawJson, Request, Response, encode_json};
pub use version::Version;
