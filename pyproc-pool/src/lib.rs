//! Call Python functions as if they were local. They run in a pool of supervised worker processes on the same host, so
//! a crash, a leak or the interpreter lock of a worker does not affect the service.
//!
//! ```no_run
//! # async fn example() -> Result<(), pyproc_pool::Error> {
//! use pyproc_pool::Pool;
//! use serde_json::{Value, json};
//!
//! let pool = Pool::builder().workers(4).worker_script("worker.py").start().await?;
//! let answer: Value = pool.call("predict", &json!({"value": 42})).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The Python side, `worker.py`, needs the package `pyproc-worker`:
//!
//! ```python
//! from pyproc_worker import expose, run_worker
//!
//! @expose
//! def predict(req):
//!     return {"result": req["value"] * 2}
//!
//! run_worker()
//! ```
//!
//! # The life of a call
//!
//! The caller's task encodes the input. If a worker has capacity, the call is dispatched to the least loaded worker.
//! Otherwise it is queued, up to its deadline. If the queue is full too, it fails at once with [`Error::Overloaded`].
//! The caller whose request completes a batch writes all frames of the batch with one system call; else the
//! connection's task writes them. That task also matches answers to calls by id.
//!
//! # Runtime
//!
//! [`Pool::start`] must be called within a tokio runtime with I/O and time enabled. Its threads drive the connections.
//! On a current-thread runtime, caller and connection stay on one thread, which costs the least processor time. On the
//! multi-threaded runtime, callers that compute do not delay the connections. Calls are equally fast there if its
//! threads do not compete with the workers for cores: on a machine with two cores and 64 calls in flight, it reached 95
//! % of the throughput with its threads and the worker on a core each, and 52 % when the system placed all three. Use
//! at most as many threads as the workers leave cores. Make calls from tasks (`tokio::spawn`) rather than from the
//! future of `block_on`: on the multi-threaded runtime that future has a thread of its own, and each answer has to wake
//! it across threads.
//!
//! A pool also has a small thread that wakes callers when their deadlines pass, and two threads for each worker: one
//! waits for the process, one reads its output. When a worker reports its first record, the pool starts one more, which
//! handles records.
//!
//! The latency of a single call is mostly the wake-up of sleeping processes. [`PoolBuilder::spin`] avoids that, at a
//! cost that its documentation states.
//!
//! # Logs
//!
//! The pool's own events, Python's log records and the lines that workers print are `tracing` events; see [`logged`].
//!
//! # Features
//!
//! - `msgpack`: `CallRequest::msgpack` sends and reads MessagePack in place of JSON.
//! - `testing`: a pool over functions of the same process, for unit tests without Python; for `dev-dependencies`.

#![deny(unsafe_code)]

mod builder;
mod call;
mod clock;
mod config;
mod driver;
mod error;
mod events;
#[doc = include_str!("../LOGS.md")]
pub mod logged {}
pub mod observe;
mod outgoing;
mod output;
mod pool;
mod scheduler;
mod shared;
mod status;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod transport;
mod worker;

pub use builder::PoolBuilder;
pub use call::CallRequest;
pub use config::{LogLevel, PoolConfig, RestartConfig, WorkerOutput};
pub use error::{
    ConfigError, Deadline, DeathCause, DecodeError, Error, ErrorKind, ProtocolViolation,
    RemoteException, StartFailure, StartFailureCause, TimeoutError, WorkerDeath,
};
pub use pool::{Pool, WeakPool};
pub use pyproc_protocol as protocol;
pub use status::{Health, ReloadReport, ShutdownReport, Stats, WorkerHealth, WorkerState};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
