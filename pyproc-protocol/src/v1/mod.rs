//! Version 1 of the wire: calls in JSON. It is frozen; the specification is in [`spec`](crate::spec).
//!
//! Most of the crate's users need it only for plain clients and workers of version 1: [`ClientSession`](crate::ClientSession)
//! and [`WorkerSession`](crate::WorkerSession) support both versions.

mod decode;
mod encode;
mod message;
mod raw_json;

pub(crate) use encode::{begin_request, encode_cancellation, longest_head, response_head};
pub use message::{Message, Request, Response};
pub use raw_json::RawJson;
