//! One worker, from its start to its end, again and again.

mod connect;
mod death;
mod farewell;
mod flood;
mod fork_exec;
mod group;
mod interpreter;
mod lifecycle;
mod line_log;
mod origin;
mod output;
mod process;
mod reconnect;
mod reload;
mod sink;
mod slot;
mod source;
mod start;
mod tail;

pub(crate) use death::last_words;
pub(crate) use group::Groups;
pub(crate) use lifecycle::Lifecycle;
pub(crate) use origin::Origin;
pub(crate) use process::Process;
pub(crate) use reload::{Reload, SHORTEST_GRACE};
pub(crate) use slot::{Running, Slot, Source, Stop};
pub(crate) use tail::Tail;
