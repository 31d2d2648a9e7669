//! What workers print and log, from bytes to events. A thread for each worker reads its pipes; the lines become
//! entries, and the entries become `tracing` events, within the rate. Lines, bytes and held lines are bounded. This
//! folder knows neither slots nor processes: it gets pipes, and reports their end.

mod call_attributor;
mod destination;
mod event;
mod event_writer;
mod flood;
mod line_log;
pub(crate) mod lines;
mod pipe;
pub(crate) mod python_log;
mod rate;
mod reader;
mod sink;
mod tail;

pub(crate) use call_attributor::CallAttributor;
pub(crate) use destination::Destination;
pub(crate) use event_writer::EventWriter;
pub(crate) use rate::{Rate, Tally};
pub(crate) use reader::OutputReader;
pub(crate) use tail::Tail;
