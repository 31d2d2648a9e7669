//! One worker, from its start to its end, again and again.

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
