//! A slot of the pool, and the worker in it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pyproc_protocol::Peer;
use tokio::{sync::watch, time::Instant};

use super::{Process, Worker, Workers, socket_dir::Sockets};
#[cfg(feature = "testing")]
use crate::transport::InProcess;
use crate::{
    WorkerState, driver::Connection, error::bounded, events::WorkerLogEvent, observe::WorkerEvent,
    output::CallAttributor, scheduler::StopReason, shared::Shared,
};

/// A slot of the pool.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) worker: usize,
    pub(crate) kind: WorkerKind,
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) stop: watch::Receiver<Stop>,
}

/// How a slot gets its worker.
#[derive(Debug, Clone)]
pub(crate) enum WorkerKind {
    /// The pool starts the process; the sockets are in this directory.
    Spawned(Sockets),
    /// Another program starts the process, which listens on this socket.
    External(PathBuf),
    /// The worker is a task of this process.
    #[cfg(feature = "testing")]
    InProcess(InProcess),
}

/// Whether the workers are to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    No,
    /// They end within this time, or are killed.
    Within(Duration),
}

/// A worker that answers calls.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) connection: Connection,
    pub(super) process: Option<Arc<Process>>,
    /// The path of its socket.
    pub(super) socket: PathBuf,
    pub(super) since: Instant,
}

/// A worker's slot, and its number as a producer of records. The two are equal, except for a worker that was replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkerIds {
    pub(super) worker: usize,
    pub(super) producer: usize,
}

/// What was in the slot before a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predecessor {
    /// Nothing: this is the slot's first worker.
    None,
    /// A worker that is gone.
    Gone,
    /// A worker that finishes its calls.
    Draining,
}

impl Running {
    pub(super) fn new(
        connection: Connection,
        process: Option<Arc<Process>>,
        socket: PathBuf,
    ) -> Self {
        Self {
            connection,
            process,
            socket,
            since: Instant::now(),
        }
    }

    /// Whether the worker reported that it is not written in Python. One from before the hello is.
    fn is_foreign(&self) -> bool {
        matches!(self.connection.peer(), Peer::Negotiated(info) if info.python.is_empty())
    }

    /// Attributes its output to calls; `None` if its output is not logged.
    fn attributor(&self) -> Option<Arc<CallAttributor>> {
        let attributor = self.process.as_ref().and_then(|it| it.attributor());
        if let Some(attributor) = attributor.filter(|_| self.is_foreign()) {
            attributor.set_foreign();
        }
        attributor.cloned()
    }

    fn pid(&self) -> Option<u32> {
        let process = self.process.as_ref().map(|it| it.pid());
        process.or(self.connection.peer_pid())
    }
}

impl Slot {
    /// The ids of the worker that gets the slot's calls.
    pub(super) fn ids(&self) -> WorkerIds {
        WorkerIds {
            worker: self.worker,
            producer: self.worker,
        }
    }

    /// Gives the slot's calls to this worker. Returns the new producer number of its predecessor, if that still
    /// finishes calls.
    pub(super) fn activate(
        &self,
        running: &mut Running,
        predecessor: Predecessor,
    ) -> Option<usize> {
        let restarts = self.update_table(running, predecessor);
        self.attach(running, predecessor);
        let (worker, pid) = (self.worker, running.pid());
        let leaving = predecessor == Predecessor::Draining;
        let producer = leaving.then(|| self.shared.records.replaced(worker));
        let tail = running.process.as_ref().map(|it| it.tail().clone());
        let foreign = running.is_foreign();
        self.shared.records.begin(worker, pid, foreign, tail);
        if predecessor == Predecessor::Draining {
            self.log(WorkerLogEvent::Reloaded { pid, restarts });
            self.shared.notify(&WorkerEvent::Reloaded { worker, pid });
        } else {
            self.log(WorkerLogEvent::Ready { pid, restarts });
            let restarted = predecessor == Predecessor::Gone;
            self.shared.notify(&WorkerEvent::Ready {
                worker,
                pid,
                restarted,
            });
        }
        producer
    }

    fn update_table(&self, running: &Running, predecessor: Predecessor) -> u64 {
        let mut workers = self.workers.lock();
        let slot = &mut workers[self.worker];
        let processes = &mut slot.processes;
        if predecessor == Predecessor::Draining {
            processes.draining = processes.serving.take();
        }
        processes.serving = processes.starting.take();
        slot.pid = running.pid();
        slot.state = WorkerState::Ready;
        slot.restarts += u64::from(predecessor != Predecessor::None);
        slot.restarts
    }

    /// Under one lock, so that the slot always has a worker for calls.
    pub(super) fn attach(&self, running: &mut Running, predecessor: Predecessor) {
        let attributor = running.attributor();
        let mut scheduler = self.shared.driver.lock();
        if predecessor == Predecessor::Draining {
            scheduler.replace(self.worker);
        }
        let connection = &mut running.connection;
        connection.open(&mut scheduler, self.worker, attributor);
    }

    /// Clears what the table holds of a worker that is gone.
    pub(super) fn clear(&self) {
        self.update(|it| {
            it.processes.starting = None;
            it.processes.serving = None;
            it.pid = None;
        });
    }

    /// Marks the slot as stopped: it stays empty.
    pub(super) fn close(&self, gone: StopReason) {
        self.clear();
        let worker = self.worker;
        let before =
            std::mem::replace(&mut self.workers.lock()[worker].state, WorkerState::Stopped);
        self.shared.driver.lock().stop_slot(worker, gone);
        if before != WorkerState::Stopped {
            self.log(WorkerLogEvent::Stopped);
            self.shared.notify(&WorkerEvent::Stopped { worker });
        }
    }

    /// Resolves when the pool stops, with the time that a worker has to end.
    pub(super) async fn stopped(&self) -> Duration {
        let mut stop = self.stop.clone();
        let within = stop.wait_for(|stop| matches!(stop, Stop::Within(_))).await;
        match within.as_deref() {
            Ok(Stop::Within(grace)) => *grace,
            // The sender is dropped only with the pool.
            _ => Duration::ZERO,
        }
    }

    /// Whether the pool stops.
    pub(super) fn stops(&self) -> bool {
        matches!(*self.stop.borrow(), Stop::Within(_))
    }

    /// Why a task of the slot is dropped before its end.
    pub(super) fn why_dropped(&self) -> StopReason {
        // Dropping the pool's last handle drops the tasks.
        let is_wanted = self.stops() || self.stop.has_changed().is_err();
        match is_wanted || std::thread::panicking() {
            true => StopReason::ShutDown,
            false => StopReason::RuntimeEnded,
        }
    }

    pub(super) fn set_state(&self, state: WorkerState) {
        self.update(|it| it.state = state);
    }

    pub(super) fn set_last_error(&self, error: &dyn std::fmt::Display) {
        let error = bounded(error);
        self.update(|it| it.last_error = Some(error));
    }

    pub(super) fn log(&self, news: WorkerLogEvent<'_>) {
        self.shared.log(self.worker, news);
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Worker)) {
        change(&mut self.workers.lock()[self.worker]);
    }
}
