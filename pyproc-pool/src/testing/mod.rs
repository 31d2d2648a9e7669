//! A pool over functions of the same process, for unit tests without Python (feature `testing`).
//!
//! [`TestPool`] derefs to [`Pool`], the same type as in production: queue, deadlines, supervision and errors are the same.
//! Only the workers differ. Each is a task that speaks the protocol through memory, and runs functions of the test.
//!
//! ```
//! use std::time::Duration;
//! use pyproc_pool::{Error, ErrorKind, Pool, RemoteException, testing::TestPool};
//!
//! /// The code under test.
//! async fn price(pool: &Pool, item: &str) -> Result<u64, u16> {
//!     pool.call("price", item).await.map_err(|error: Error| match error.kind() {
//!         ErrorKind::InvalidRequest => 422,
//!         ErrorKind::Timeout => 504,
//!         _ => 500,
//!     })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! // In a `#[tokio::test(start_paused = true)]`, the minute below takes no time.
//! # tokio::time::pause();
//! let pool = TestPool::builder()
//!     .function("price", |item: String| async move {
//!         match item.as_str() {
//!             "tea" => Ok(3),
//!             "slow" => {
//!                 tokio::time::sleep(Duration::from_secs(60)).await;
//!                 Ok(4)
//!             }
//!             _ => Err(RemoteException::new("price", "KeyError", item)),
//!         }
//!     })
//!     .start()
//!     .await?;
//! assert_eq!(price(&pool, "tea").await, Ok(3));
//! assert_eq!(price(&pool, "slow").await, Err(504)); // `request_timeout` is 30 s
//! assert_eq!(price(&pool, "milk").await, Err(500));
//! # Ok(())
//! # }
//! ```
//!
//! # What to script
//!
//! - **Answers and delays**: a function is async and may await anything. Functions run concurrently, as `async def` functions
//!   do, up to `max_in_flight` for each worker.
//! - **Errors**: `Err` of a [`RemoteException`], whose type, message, traceback and `retryable` reach the caller. The type
//!   [`RemoteException::INVALID_REQUEST`] makes [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest).
//! - **Deaths**: [`TestPool::kill`], or a function that panics, which kills its worker. All calls in flight at the worker fail
//!   with [`Error::WorkerDied`], whose cause is
//!   [`DeathCause::Disconnected`](crate::DeathCause::Disconnected), as there is no process. Another worker takes the slot.
//! - **Overload**: small [`settings`](TestPoolBuilder::settings), and a function that waits, such as for a
//!   [`Semaphore`](tokio::sync::Semaphore) of the test.
//! - **Cancellation**: the future of a function is dropped when its caller cancels the call or its deadline has passed.
//!
//! # Time
//!
//! The pool uses the clock of the tokio runtime for delays, deadlines, pauses before restarts, and the times that observers
//! get. While a test has paused this clock, time advances only when every task waits, and then at once. Three things use
//! real time: what a function measures with [`std::time`], threads that it blocks, and how long a connection polls for
//! answers before it sleeps (`spin`), which changes no outcome.

use std::{collections::BTreeMap, fmt, future::Future, ops::Deref, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use self::{
    function::{of_bytes, of_values},
    worker::{Functions, Workers},
};
use crate::{Error, Pool, PoolBuilder, RemoteException, transport::InProcess};

mod function;
mod worker;

/// A [`Pool`] whose workers run functions of the test.
///
/// Where a `Pool` is needed, such as in a service's state, use `Pool::clone(&pool)`. Clones are cheap, and refer to the
/// same pool.
#[derive(Clone)]
pub struct TestPool {
    pool: Pool,
    workers: Arc<Workers>,
}

impl TestPool {
    /// A pool of one worker without functions.
    pub fn builder() -> TestPoolBuilder {
        TestPoolBuilder {
            functions: BTreeMap::new(),
            pool: Pool::builder().workers(1),
        }
    }

    /// Kills the worker of a slot, as SIGKILL kills a process. Another one takes its place after
    /// [`RestartConfig::initial_backoff`](crate::RestartConfig::initial_backoff). Has no effect on a worker that is
    /// dead.
    ///
    /// The pool notices when its tasks run next. Calls that are made before that may still be dispatched to the worker,
    /// and fail with [`Error::WorkerDied`] like those in flight.
    ///
    /// # Panics
    ///
    /// If the pool has no such slot.
    #[track_caller]
    pub fn kill(&self, worker: usize) {
        assert!(self.workers.kill(worker), "the pool has no worker {worker}");
    }
}

impl Deref for TestPool {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl fmt::Debug for TestPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestPool")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Configures and starts a [`TestPool`].
#[derive(Clone)]
#[must_use]
pub struct TestPoolBuilder {
    functions: Functions,
    pool: PoolBuilder,
}

impl TestPoolBuilder {
    /// Adds a function to the workers. It replaces one of the same name.
    ///
    /// Its input is decoded from JSON or MessagePack, and its result is encoded as the input was. An input of another
    /// type is rejected, as type hints do in Python. The exception's `method` and `worker` are replaced by those of the
    /// call.
    pub fn function<In, Out, Fut>(
        mut self,
        name: impl Into<String>,
        function: impl Fn(In) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        In: DeserializeOwned,
        Out: Serialize,
        Fut: Future<Output = Result<Out, RemoteException>> + Send + 'static,
    {
        self.functions.insert(name.into(), of_values(function));
        self
    }

    /// Adds a function whose result is bytes, for callers of [`call_bytes`](crate::CallRequest::call_bytes). It accepts
    /// the bytes of any input.
    pub fn bytes_function<Out, Fut>(
        mut self,
        name: impl Into<String>,
        function: impl Fn(Bytes) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Out: Into<Bytes>,
        Fut: Future<Output = Result<Out, RemoteException>> + Send + 'static,
    {
        self.functions.insert(name.into(), of_bytes(function));
        self
    }

    /// Changes the pool's settings. The defaults are those of a [`Pool`], with one worker. Settings of processes and
    /// sockets have no effect.
    ///
    /// ```
    /// # use pyproc_pool::testing::TestPool;
    /// let builder = TestPool::builder().settings(|pool| pool.max_in_flight(1).max_queue(0));
    /// ```
    pub fn settings(mut self, change: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Self {
        self.pool = change(self.pool);
        self
    }

    /// Starts the pool, and returns when all workers are ready.
    ///
    /// Must be called within a tokio runtime with time enabled.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a setting is invalid. [`Error::StartFailed`] if the names of all functions exceed
    /// `max_frame_size`.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped, the workers are dropped, too.
    pub async fn start(self) -> Result<TestPool, Error> {
        let builder = self.pool.without_processes();
        let max_frame_size = builder.config()?.max_frame_size;
        let workers = Arc::new(Workers::new(self.functions, max_frame_size));
        let for_pool = Arc::clone(&workers);
        let in_process = InProcess(Arc::new(move |slot| for_pool.start(slot)));
        let pool = builder.in_process(in_process).start().await?;
        Ok(TestPool { pool, workers })
    }
}

impl fmt::Debug for TestPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestPoolBuilder")
            .field("functions", &self.functions.keys())
            .field("pool", &self.pool)
            .finish()
    }
}
