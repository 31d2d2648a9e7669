//! One worker, from its start to its end, again and again.

mod connect;
mod death;
mod lifecycle;
mod output;
mod parent_death;
mod process;

pub(crate) use death::last_words;
pub(crate) use lifecycle::{Lifecycle, Running, Source, Stop};
pub(crate) use process::Process;
