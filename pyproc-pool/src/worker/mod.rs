//! The life of the worker in each slot: start, handshake, supervision, the explanation of its death, replacement,
//! reload, stop. One task for each slot runs it (`lifecycle.rs`). No call waits for a worker that no task looks after.

mod connect;
mod death;
mod lifecycle;
mod process;
mod reconnect;
mod reload;
mod slot;
mod socket_dir;
mod start;
mod stop;
mod table;

pub(crate) use death::kill_and_wait;
pub(crate) use lifecycle::Lifecycle;
pub(crate) use process::{Groups, Process};
pub(crate) use reload::{Reload, SHORTEST_GRACE};
pub(crate) use slot::{Running, Slot, Stop, WorkerKind};
pub(crate) use socket_dir::SocketDir;
pub(crate) use table::{Worker, Workers};
