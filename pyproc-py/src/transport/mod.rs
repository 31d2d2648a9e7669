//! One client's connection: its socket, its buffers, and the requests that wait. And who may connect.
//!
//! Nothing here needs the interpreter lock, so that the watcher may read while a function runs. Nothing here calls a
//! function or knows of other connections. What the bytes mean, and what the client supports of the protocol, is
//! [`WorkerSession`](pyproc_protocol::WorkerSession)'s.
//!
//! | file | idea |
//! | --- | --- |
//! | `reading` | bytes that have arrived become requests that wait |
//! | `connection` | a client's socket, the requests that wait, what is to be sent |
//! | `large_payload` | a raw payload that is received straight into its Python object |
//! | `outgoing` | frames on their way to the client |
//! | `peers` | who may connect |
//! | `request` | what a client asks for |

mod connection;
mod large_payload;
mod outgoing;
mod peers;
mod reading;
mod request;

pub(crate) use self::connection::Connection;
pub(crate) use self::peers::{AllowedPeers, RefusedConnections};
pub(crate) use self::reading::Cancellations;
pub(crate) use self::request::{
    Call, CallBody, CallMetadata, Channel, ListedFunction, PendingRequest, Target,
};
