//! The wire protocol between a service and its Python workers: frames, messages and the handshake. Bytes in, bytes out.
//!
//! Nothing here opens a socket, reads a clock or needs a runtime, so the same code serves a tokio pool, a blocking client
//! and a custom transport. The complete specification is in [`spec`] and [`spec_v2`]; it is enough to write a peer in
//! another language.
//!
//! | task | use |
//! | --- | --- |
//! | a client of workers of either version | [`ClientSession`] and [`RequestHead`] |
//! | a worker for clients of either version | [`WorkerSession`] |
//! | encode a request's payload, decode a result in JSON | [`encode_json`], [`decode_json`] |
//! | encode a response without a copy, or on another thread | [`ResponseEncoder`], [`ResponseFrame`] |
//! | split received bytes into frames | [`FrameDecoder`] |
//! | decode and encode single messages | [`v1::Message`], [`v2::Message`] |
//! | decode records of telemetry | [`v2::telemetry`] |
//!
//! # Example
//!
//! A request from encoding to decoding, with two buffers in place of a socket:
//!
//! ```
//! use bytes::BytesMut;
//! use pyproc_protocol::{DEFAULT_MAX_FRAME_SIZE, FrameDecoder, v1::{Message, RawJson, Request}};
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
#[cfg(feature = "codec")]
pub mod codec;
mod error;
mod frame;
mod hello;
#[doc(hidden)]
pub mod json;
mod lenient;
mod limits;
mod message;
mod session;
pub mod v1;
pub mod v2;
mod version;

#[doc = include_str!("../SPEC.md")]
pub mod spec {}

#[doc = include_str!("../SPEC-V2.md")]
pub mod spec_v2 {}

pub use call::{ResponseEncoder, ResponseFrame};
pub use error::{EncodeError, FrameError, MessageError};
pub use frame::{FrameDecoder, LENGTH_PREFIX};
pub use hello::{Features, FunctionInfo, HELLO_METHOD, Hello, WorkerInfo};
pub use json::{decode_json, encode_json};
pub use limits::{DEFAULT_MAX_FRAME_SIZE, MAX_FUNCTIONS, MAX_HEADER_BYTES, MAX_HEADERS, MAX_ID};
pub use message::{
    Cancellation, Codec, ERROR_TRACEBACK, ERROR_TYPE, Failure, Headers, RequestHead, RequestTail,
    Times, TraceContext,
};
pub use session::{
    AcceptedHello, ClientEvent, ClientSession, PartialRequest, Peer, SessionError, WorkerEvent,
    WorkerSession,
};
pub use version::Version;
