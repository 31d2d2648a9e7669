//! The parts that messages of both versions are made of. They know nothing about how either version encodes them.

mod headers;
mod parts;
mod request_head;

pub(crate) use headers::check;
pub use headers::{ERROR_TRACEBACK, ERROR_TYPE, Headers};
pub use parts::{Cancellation, Codec, Failure, Times, TraceContext};
pub use request_head::{RequestHead, RequestTail};
