//! One worker, from its start to its end, again and again.

mod connect;
mod death;
mod farewell;
mod lifecycle;
mod process;
mod reconnect;
mod reload;
mod slot;
mod socket_dir;
mod start;
mod table;

pub(crate) use death::last_words;
pub(crate) use lifecycle::Lifecycle;
pub(crate) use process::{Groups, Process};
pub(crate) use reload::{Reload, SHORTEST_GRACE};
pub(crate) use slot::{Running, Slot, Source, Stop};
pub(crate) use socket_dir::SocketDir;
pub(crate) use table::{Worker, Workers};
