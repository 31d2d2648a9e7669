//! Encodes the messages of one call, each in the version that its receiver supports. Payloads are not copied.

mod cancellation;
mod request;
mod response_encoder;
mod response_frame;

pub use response_encoder::ResponseEncoder;
pub use response_frame::ResponseFrame;
