//! Call Python functions as if they were local. They run in a pool of supervised
//! worker processes on the same host, so that no crash, leak or interpreter lock of one touches the service.
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
//! The input is written in the caller's task. If a worker has room, the
//! frame goes to the least loaded one; otherwise the call waits in the pool's queue, up to its deadline;
//! if the queue is full too, it fails at once with [`Error::Overloaded`]. The caller whose request
//! completes a batch writes all frames that are ready with one system call, or the connection's task does, which
//! brings answers back to their callers by id.
//!
//! # Runtime
//!
//! [`Pool::start`] must be called within a tokio runtime with I/O and time enabled, whose threads then
//! drive the connections. On a current-thread runtime caller and connection never change threads, which
//! costs the least processor time. On the multi-threaded one, callers that compute don't hold up the
//! connections, and calls are as fast where its threads don't compete with the workers for cores: on a machine
//! with two cores and 64 calls in flight, it made 95 % of the calls a second with its threads and the
//! worker on a core each, and 52 % where the system placed all three as it liked. Give it no more
//! threads than the workers leave cores. Make calls from tasks (`tokio::spawn`) rather than from the future that
//! `block_on` runs, which on the multi-threaded runtime is on a thread of its own and so is woken across
//! threads.
//!
//! A pool also has a small thread that tells callers when deadlines have passed, and two for each worker: one
//! waits for the process, one reads its output. Once workers report something beside their answers, one more passes
//! that on.
//!
//! A call that comes alone mostly waits for sleeping processes to wake. [`PoolBuilder::spin`] says how to avoid that,
//! and what it costs.
//!
//! # Logs
//!
//! What the pool does, what Python logs and what workers print are `tracing` events; see [`logged`].
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
