//! Version 2 of the wire: the same calls in binary frames. The specification is in
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

pub(crate) use decode::{is_frame, may_be_skipped};
pub(crate) use encode::{answer_header, longest_head, request_head, write_failure};
pub use error::DecodeError;
pub use message::{
    Answer, Body, Codec, Failure, Message, Method, Ping, Pong, Request, Times, TraceContext,
};
