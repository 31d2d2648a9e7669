//! What workers print and log, from bytes to events. A thread for each worker reads its pipes; the lines become
//! entries, and the entries become `tracing` events, as many as the rate allows. It knows nothing of slots and their
//! processes: it gets pipes, and says when they have ended.

mod destination;
mod event;
mod flood;
mod line_log;
pub(crate) mod lines;
mod origin;
pub(crate) mod python_log;
mod rate;
mod reader;
mod sink;
mod source;
mod tail;
mod transcript;

pub(crate) use destination::Destination;
pub(crate) use origin::Origin;
pub(crate) use rate::{Rate, Tally};
pub(crate) use reader::Output;
pub(crate) use tail::Tail;
pub(crate) use transcript::Transcript;
