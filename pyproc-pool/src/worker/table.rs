//! What the pool knows of the workers in its slots.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Groups, Process};
use crate::WorkerState;

/// The workers of a pool, by slot, and the process groups that they lead.
#[derive(Debug)]
pub(crate) struct Workers {
    slots: Mutex<Vec<Worker>>,
    pub(crate) groups: Groups,
}

/// What the pool knows of the worker in a slot.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) state: WorkerState,
    pub(crate) processes: Processes,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u64,
    pub(crate) last_error: Option<String>,
}

/// The processes of a slot, so that all of them can be killed.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    pub(crate) starting: Option<Arc<Process>>,
    pub(crate) serving: Option<Arc<Process>>,
    /// A worker that was replaced and finishes its calls.
    pub(crate) draining: Option<Arc<Process>>,
}

impl Processes {
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Arc<Process>> {
        let Self {
            starting,
            serving,
            draining,
        } = mem::take(self);
        [starting, serving, draining].into_iter().flatten()
    }
}

impl Workers {
    pub(crate) fn new(slots: usize) -> Self {
        let starting = |_| Worker {
            state: WorkerState::Starting,
            processes: Processes::default(),
            pid: None,
            restarts: 0,
            last_error: None,
        };
        Self {
            slots: Mutex::new((0..slots).map(starting).collect()),
            groups: Groups::new(),
        }
    }

    /// Not taken on the path of a call. If both locks are needed, take this one before the scheduler's.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
