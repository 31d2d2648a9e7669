//! The worker that a reload replaces: it finishes its calls while the next worker serves.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedMutexGuard, oneshot},
    time::{Instant, sleep, timeout},
};

use super::{
    death::{self, exited_but_connected},
    slot::{Running, Slot, WorkerIds},
    stop,
};
use crate::{
    DeathCause, Error, StartFailure, driver::Closed, events::WorkerLogEvent, observe::WorkerEvent,
    scheduler::ConnectionId,
};

/// A request to replace a slot's worker.
#[derive(Debug)]
pub(crate) struct Reload {
    /// How long the old worker may take to finish its calls and end.
    grace: Duration,
    done: oneshot::Sender<Replacement>,
    /// Held until the reload of this slot is done, so that one worker at a time is replaced.
    _turn: OwnedMutexGuard<()>,
}

/// Whether the old worker had to be killed, once it is gone; or why no new one started.
pub(crate) type Replacement = Result<bool, Arc<StartFailure>>;

impl Reload {
    pub(crate) fn new(
        grace: Duration,
        done: oneshot::Sender<Replacement>,
        turn: OwnedMutexGuard<()>,
    ) -> Self {
        Self {
            grace,
            done,
            _turn: turn,
        }
    }

    pub(super) fn answer(self, replacement: Replacement) {
        // The caller may have dropped the reload.
        let _ = self.done.send(replacement);
    }
}

/// A worker that has been replaced.
pub(super) struct Replaced {
    slot: Slot,
    ids: WorkerIds,
    connection: ConnectionId,
}

/// How the old worker's last calls ended.
enum Ending {
    Finished,
    Closed(Closed),
    TooLate,
    /// The pool stops; the worker has this time to end.
    Stop(Duration),
}

/// The shortest time that a worker has to end after SIGTERM.
pub(crate) const SHORTEST_GRACE: Duration = Duration::from_millis(500);

impl Replaced {
    pub(super) fn new(slot: Slot, producer: usize, connection: ConnectionId) -> Self {
        let worker = slot.worker;
        Self {
            slot,
            ids: WorkerIds { worker, producer },
            connection,
        }
    }

    /// Lets the worker finish its calls, and ends it. Returns whether it had to be killed because the pool stops.
    pub(super) async fn finish(self, mut running: Running, reload: Reload) -> bool {
        let begin = Instant::now();
        let ending = self.serve(&mut running, reload.grace).await;
        let rest = reload.grace.saturating_sub(begin.elapsed());
        let killed = match ending {
            Ending::Finished => {
                let killed = self.retire(running, rest.max(SHORTEST_GRACE)).await;
                self.slot.log(WorkerLogEvent::Drained);
                killed
            }
            Ending::Stop(grace) => self.retire(running, grace).await,
            Ending::Closed(closed) => {
                self.reap(running, closed).await;
                false
            }
            Ending::TooLate => {
                self.cut_off(running).await;
                true
            }
        };
        let stops = self.slot.stops();
        drop(self);
        reload.answer(Ok(killed));
        killed && stops
    }

    async fn serve(&self, running: &mut Running, grace: Duration) -> Ending {
        let process = running.process.clone();
        let connection = &mut running.connection;
        let shared = &self.slot.shared;
        let records = shared.records.sender(self.ids.producer);
        let closed = tokio::select! {
            biased;
            grace = self.slot.stopped() => return Ending::Stop(grace),
            closed = timeout(grace, connection.run(&shared.driver, records)) => closed,
            () = exited_but_connected(process) => Ok(Closed::ByPeer),
        };
        match closed {
            _ if self.has_finished() => Ending::Finished,
            // Calls that had not started have moved to other workers.
            Ok(Closed::MustReconnect) => Ending::Finished,
            Ok(closed) => Ending::Closed(closed),
            Err(_) => Ending::TooLate,
        }
    }

    fn has_finished(&self) -> bool {
        self.slot.shared.driver.lock().has_drained(self.connection)
    }

    async fn retire(&self, running: Running, grace: Duration) -> bool {
        let shared = &self.slot.shared;
        shared.driver.lock().close(self.connection);
        let killed = stop::stop_worker(shared, self.ids, running, grace, self.too_late()).await;
        self.notify(None);
        killed
    }

    /// A pool that stops does not wait for a reload.
    async fn too_late(&self) {
        sleep(self.slot.stopped().await).await;
    }

    async fn reap(&self, running: Running, closed: Closed) {
        let shared = &self.slot.shared;
        shared.driver.lock().close(self.connection);
        let Running {
            connection,
            process,
            ..
        } = running;
        let error = death::explain(shared, self.ids, process, connection, closed).await;
        self.fail(error);
    }

    async fn cut_off(&self, running: Running) {
        let shared = &self.slot.shared;
        shared.driver.lock().close(self.connection);
        let process = running.process.as_deref();
        let death = death::worker_death(shared, self.ids, process, DeathCause::Replaced).await;
        let death = Arc::new(death);
        self.fail(|| Error::WorkerDied(Arc::clone(&death)));
    }

    /// Fails the calls that it still has.
    fn fail(&self, error: impl Fn() -> Error) {
        let death = error();
        self.slot.log(WorkerLogEvent::Died(&death));
        self.slot.shared.driver.lock().fail(self.connection, error);
        self.notify(Some(&death));
    }

    fn notify(&self, error: Option<&Error>) {
        let worker = self.slot.worker;
        self.slot
            .shared
            .notify(&WorkerEvent::Replaced { worker, error });
    }
}

/// Runs whenever it ends, also after a panic or with the runtime: no call may wait for it.
impl Drop for Replaced {
    fn drop(&mut self) {
        self.slot.update(|it| it.processes.draining = None);
        let why = self.slot.why_dropped();
        let mut scheduler = self.slot.shared.driver.lock();
        scheduler.close(self.connection);
        scheduler.fail(self.connection, || why.clone().into());
    }
}
