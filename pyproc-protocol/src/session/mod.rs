mod client;
mod handshake;
mod partial_request;
mod worker;

pub use client::{Event, Session};
pub use handshake::Greeting;
pub use partial_request::BegunRequest;
pub use worker::{WorkerEvent, WorkerSession};
