//! What a pool says of itself.

/// Whether a pool can do its work. From [`Pool::health`](crate::Pool::health).
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
    /// What it is doing.
    pub state: WorkerState,
    /// Its process id; `None` when there is no process, or it is not known.
    pub pid: Option<u32>,
    /// How often it was started again, also by reloads.
    pub restarts: u64,
    /// Calls that it has.
    pub in_flight: usize,
    /// Why it last died or failed to start; `None` when it never did.
    pub last_error: Option<String>,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It is being started for the first time.
    Starting,
    /// It answers calls.
    Ready,
    /// It died, and is being replaced.
    Restarting,
    /// It is gone and will not be replaced before a reload: it failed to start too often, or the pool is shut down.
    Stopped,
}

/// What a pool is doing and has done. From [`Pool::stats`](crate::Pool::stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that workers have, those included whose callers gave up.
    pub in_flight: usize,
    /// Calls that wait for a worker.
    pub queued: usize,
    /// Calls that workers may have at a time: workers times `max_in_flight`.
    pub capacity: usize,
    /// Answers that arrived, exceptions included, since the start.
    pub answered: u64,
    /// Calls refused because the pool was full, since the start.
    pub rejected: u64,
    /// Calls whose callers gave up or ran out of time before the answer, since the start.
    pub abandoned: u64,
    /// Workers started again, also by reloads, since the start.
    pub restarts: u64,
}

/// How a shutdown went. From [`Pool::shutdown`](crate::Pool::shutdown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Calls that were cut off by the deadline and failed with
    /// [`Error::ShutDown`](crate::Error::ShutDown).
    pub cut_off: usize,
    /// Workers that did not end when they were told to, and were killed.
    pub killed: usize,
}

/// How a reload went. From [`Pool::reload`](crate::Pool::reload).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadReport {
    /// Workers that did not finish and end in the time that they had, and were killed.
    pub killed: usize,
}
