//! Version 2 of the wire: the same calls in binary frames, and telemetry. The specification is in
//! [`spec_v2`](crate::spec_v2).
//!
//! ```
//! use bytes::Bytes;
//! use pyproc_protocol::v2::{Body, Message, Method, Request};
//!
//! let request = Request::new(7, Method::Index(0), Body::json(Bytes::from_static(b"42")));
//! let mut wire = Vec::new();
//! request.encode(1024, &mut wire)?;
//! let frame = Bytes::from(wire).slice(4..); // as `FrameDecoder` yields it
//! assert_eq!(Message::decode(&frame)?, Message::Request(request));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod encode;
mod error;
mod message;
pub mod telemetry;
mod wire;

pub(crate) use decode::{is_frame, is_skippable};
pub(crate) use encode::{
    begin_request, encode_cancellation, encode_failure, longest_head, response_head,
};
pub use error::DecodeError;
pub use message::{Body, Message, Method, Ping, Pong, Request, Response};
