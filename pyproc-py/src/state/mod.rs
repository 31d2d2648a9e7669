//! What the threads of a worker share, behind one lock.
//!
//! Invariant: the thread that holds the lock neither waits for the interpreter lock nor runs Python code (which might
//! let another thread take the interpreter lock). The thread that has the interpreter lock may be waiting for this
//! lock.
//!
//! | file | idea |
//! | --- | --- |
//! | `core` | the worker: its settings, the lock, the pipe that wakes the serving thread |
//! | `shared` | behind the lock: connections, the calls that run, the drain |
//! | `calls` | calls that run, and those that are cancelled |
//! | `connections` | the table of open connections |
//! | `accept` | new clients become connections |
//! | `activity` | without the lock: whether a function runs, and the watcher's sleep |
//! | `fork` | whether this process is a fork of the worker's |

mod accept;
mod activity;
mod calls;
mod connections;
mod core;
pub(crate) mod fork;
mod shared;

pub(crate) use self::accept::accept;
pub(crate) use self::activity::Activity;
pub(crate) use self::calls::{AsyncCall, CancelledCalls, StartedRequest};
pub(crate) use self::connections::ConnectionId;
pub(crate) use self::core::{Core, NO_FUNCTION};
