mod decode;
mod encode;
mod message;
mod raw_json;

pub use encode::{MAX_ID, encode_json};
pub(crate) use encode::{json_infallible, json_size};
pub use message::{Cancellation, Message, Request, Response};
pub use raw_json::RawJson;
