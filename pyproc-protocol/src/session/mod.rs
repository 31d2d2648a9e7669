//! Both ends of one connection: the handshake, then messages in the agreed version.
//!
//! A session has no socket and no clock: bytes in, events and bytes out. Messages of version 1 come out in the types of
//! version 2, so that a client or a worker handles one kind of request and response.

mod client;
mod error;
mod from_v1;
mod handshake;
mod partial_request;
mod peer;
mod worker;

pub use client::{ClientEvent, ClientSession};
pub use error::SessionError;
pub use handshake::AcceptedHello;
pub use partial_request::PartialRequest;
pub use peer::Peer;
pub use worker::{WorkerEvent, WorkerSession};
