//! The state of a pool and of its workers.

/// The state of the workers. From [`Pool::health`](crate::Pool::health).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The workers, in order of their slots.
    pub workers: Vec<WorkerHealth>,
}

impl Health {
    /// How many workers are ready for calls.
    pub fn ready(&self) -> usize {
        let ready = |worker: &&WorkerHealth| worker.state == WorkerState::Ready;
        self.workers.iter().filter(ready).count()
    }
}

/// One worker of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerHealth {
    /// The slot, which a restart does not change.
    pub worker: usize,
    /// Its state.
    pub state: WorkerState,
    /// Its process id; `None` when there is no process or its id is unknown.
    pub pid: Option<u32>,
    /// How often it was restarted, also by reloads.
    pub restarts: u64,
    /// Calls that it has in flight.
    pub in_flight: usize,
    /// Why it last died or failed to start; `None` if it never did.
    pub last_error: Option<String>,
}

/// The state of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It is starting for the first time.
    Starting,
    /// It is ready for calls.
    Ready,
    /// It died, and is being replaced.
    Restarting,
    /// It is gone and will not be replaced before a reload: too many starts failed, or the pool is shut down.
    Stopped,
}

/// Counts of a pool's calls. From [`Pool::stats`](crate::Pool::stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls in flight, including those whose callers no longer wait.
    pub in_flight: usize,
    /// Calls that are queued.
    pub queued: usize,
    /// How many calls may be in flight: workers times `max_in_flight`.
    pub capacity: usize,
    /// Answers that arrived, exceptions included, since the start.
    pub answered: u64,
    /// Calls rejected because the pool was full, since the start.
    pub rejected: u64,
    /// Calls that were cancelled or timed out before the answer, since the start.
    pub abandoned: u64,
    /// Restarts of workers, also by reloads, since the start.
    pub restarts: u64,
}

/// How a shutdown went. From [`Pool::shutdown`](crate::Pool::shutdown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Calls that the deadline ended, and that failed with [`Error::ShutDown`](crate::Error::ShutDown).
    pub cut_off: usize,
    /// Workers that did not end in time after SIGTERM, and were killed.
    pub killed: usize,
}

/// How a reload went. From [`Pool::reload`](crate::Pool::reload).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadReport {
    /// Workers that did not finish and end in time, and were killed.
    pub killed: usize,
}
