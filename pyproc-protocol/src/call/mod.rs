mod request_head;
mod response_encoder;
mod response_frame;

pub use request_head::{Closing, RequestHead};
pub use response_encoder::AnswerForm;
pub use response_frame::AnswerFrame;
