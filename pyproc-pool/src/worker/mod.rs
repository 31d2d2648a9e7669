//! One worker, from its start to its end, again and again.

mod connect;
mod lifecycle;
mod output;
mod parent_death;
mod process;

pub(crate) use lifecycle::{Lifecycle, Running, Source, Stop, last_words};
pub(crate) use process::Process;
