//! One worker, from its start to its end, again and again.

mod connect;
mod death;
mod flood;
mod lifecycle;
mod line_log;
mod output;
mod parent_death;
mod process;
mod sink;
mod source;
mod tail;

pub(crate) use death::last_words;
pub(crate) use lifecycle::{Lifecycle, Running, Source, Stop};
pub(crate) use process::Process;
pub(crate) use tail::Tail;
