use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    PoolConfig, WorkerState,
    observe::{Observer, WorkerEvent},
    scheduler::{Limits, Scheduler},
    worker::Process,
};

/// What the handles of a pool and its tasks have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: PoolConfig,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    scheduler: Mutex<Scheduler>,
    workers: Mutex<Vec<Worker>>,
}

/// What is known of the worker in a slot.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) state: WorkerState,
    pub(crate) process: Option<Arc<Process>>,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u64,
    pub(crate) last_error: Option<String>,
}

impl Shared {
    pub(crate) fn new(
        config: PoolConfig,
        observer: Option<Arc<dyn Observer>>,
        workers: usize,
    ) -> Self {
        let limits = Limits {
            max_in_flight: config.max_in_flight,
            max_queue: config.max_queue,
            max_frame_size: config.max_frame_size,
        };
        let unborn = |_| Worker {
            state: WorkerState::Starting,
            process: None,
            pid: None,
            restarts: 0,
            last_error: None,
        };
        Self {
            config,
            observer,
            scheduler: Mutex::new(Scheduler::new(workers, limits)),
            workers: Mutex::new((0..workers).map(unborn).collect()),
        }
    }

    /// Tells the observer, if there is one. One that panics must not take the worker's task with it.
    pub(crate) fn tell(&self, event: &WorkerEvent<'_>) {
        let Some(observer) = &self.observer else {
            return;
        };
        let told = catch_unwind(AssertUnwindSafe(|| observer.worker(event)));
        if told.is_err() {
            tracing::error!(?event, "the pool's observer panicked");
        }
    }

    /// Held for moments only, and never across an await.
    pub(crate) fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Not on the path of a call. Take it before the scheduler's lock, if both.
    pub(crate) fn workers(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
