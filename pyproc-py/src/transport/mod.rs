//! One client's connection, and who may connect.

mod connection;
mod large;
mod outgoing;
mod peers;
mod reading;
mod request;

pub(crate) use self::connection::Connection;
pub(crate) use self::outgoing::Outgoing;
pub(crate) use self::peers::{Peers, Refused};
pub(crate) use self::reading::Cancellations;
pub(crate) use self::request::{Call, CallBody, Client, Known, Listed, Target, Waiting};
