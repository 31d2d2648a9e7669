//! What carries out the scheduler's decisions: tasks, threads and sockets.

pub(crate) mod connection;
pub(crate) mod deadlines;
mod inbox;
mod spin;
