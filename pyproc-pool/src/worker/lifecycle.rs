use std::{
    future::{Future, pending},
    mem,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use super::{
    death::{self, exited_but_connected, kill_and_wait},
    reload::{Reload, Replaced, Replacement},
    slot::{Predecessor, Running, Slot, WorkerKind},
    stop,
};
use crate::{
    StartFailure, WorkerState, driver::Closed, events::WorkerLogEvent, observe::WorkerEvent,
    scheduler::StopReason,
};

/// Keeps one slot of the pool filled: starts a worker, serves calls with it, explains its end, and starts the next one.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    slot: Slot,
    reloads: mpsc::Receiver<Reload>,
    /// The reload in progress. The next worker that becomes ready completes it.
    reload: Option<Reload>,
    /// The task of the worker that a reload replaced last.
    replaced: JoinSet<bool>,
    /// Deaths and failed starts since a worker last lived for `max_backoff`.
    failures: u32,
    /// How many workers the slot has had.
    incarnation: u32,
}

/// Why a worker stopped serving.
enum Ending {
    Connection(Closed),
    /// The pool stops; the worker has this time to end.
    Stop(Duration),
    Reload(Reload),
    Started(Box<Running>),
    NotStarted(Arc<StartFailure>),
}

impl Lifecycle {
    pub(crate) fn new(slot: Slot, reloads: mpsc::Receiver<Reload>) -> Self {
        Self {
            slot,
            reloads,
            reload: None,
            replaced: JoinSet::new(),
            failures: 0,
            incarnation: 0,
        }
    }

    /// Starts the slot's first worker.
    ///
    /// Cancellation safety: the process is killed when the future and the pool are dropped.
    pub(crate) async fn start(&mut self) -> Result<Running, StartFailure> {
        self.incarnation += 1;
        let mut running = self.slot.start(self.incarnation).await?;
        self.slot.activate(&mut running, Predecessor::None);
        Ok(running)
    }

    /// Serves until the pool stops. Returns how many workers had to be killed at that time.
    pub(crate) async fn run(mut self, running: Running) -> usize {
        let mut killed = usize::from(self.serve_on(running).await);
        while let Some(ended) = self.replaced.join_next().await {
            killed += usize::from(ended.unwrap_or(true));
        }
        killed
    }

    /// Every worker has such a future, so rare branches are boxed to keep it small.
    async fn serve_on(&mut self, mut running: Running) -> bool {
        loop {
            match self.serve(&mut running).await {
                Ending::Stop(grace) => return Box::pin(self.end(running, grace)).await,
                Ending::Reload(reload) => self.reload = Some(reload),
                Ending::Started(next) => self.replace(&mut running, *next),
                Ending::NotStarted(failure) => self.answer(Err(failure)),
                Ending::Connection(closed) => match Box::pin(self.renew(running, closed)).await {
                    Some(next) => running = next,
                    None => return false,
                },
            }
        }
    }

    /// Serves until one of the endings occurs. During a reload it also starts the next worker.
    async fn serve(&mut self, running: &mut Running) -> Ending {
        let Self { slot, reloads, .. } = self;
        if self.reload.is_none() {
            return serve_until(slot, running, next_reload(reloads)).await;
        }
        self.incarnation += 1;
        let start = Box::pin(slot.start(self.incarnation));
        let started = async {
            match start.await {
                Ok(next) => Ending::Started(Box::new(next)),
                Err(failure) => Ending::NotStarted(Arc::new(failure)),
            }
        };
        serve_until(slot, running, started).await
    }

    /// Gives the slot to the next worker.
    fn replace(&mut self, running: &mut Running, mut next: Running) {
        let producer = self.slot.activate(&mut next, Predecessor::Draining);
        let before = mem::replace(running, next);
        if let (Some(producer), Some(reload)) = (producer, self.reload.take()) {
            let replaced = Replaced::new(self.slot.clone(), producer, before.connection.id());
            // The worker replaced before this one has ended: reloads take turns.
            self.replaced = JoinSet::new();
            self.replaced.spawn(replaced.finish(before, reload));
        }
    }

    /// From a worker's end to the next ready worker; `None` when the pool stops first.
    async fn renew(&mut self, running: Running, closed: Closed) -> Option<Running> {
        self.slot.abort_start().await;
        self.on_closed(running, closed).await;
        self.replacement().await
    }

    /// Handles the end of a worker that the pool did not ask to end.
    async fn on_closed(&mut self, running: Running, closed: Closed) {
        if running.since.elapsed() >= self.slot.shared.config.restart.max_backoff {
            self.failures = 0;
        }
        // The worker may close the connection before the pool has handled its drain message.
        let connection = running.connection.id();
        let drained = self.slot.shared.driver.lock().has_drained(connection);
        match closed {
            Closed::Drained | Closed::ByPeer if drained => self.retire(running).await,
            closed => self.reap(running, closed).await,
        }
    }

    /// Ends what is left of a worker, and fails its calls with the error that explains its death.
    async fn reap(&self, running: Running, closed: Closed) {
        let Slot { worker, shared, .. } = &self.slot;
        self.slot.set_state(WorkerState::Restarting);
        let id = running.connection.id();
        shared.driver.lock().close(id);
        let Running {
            connection,
            process,
            ..
        } = running;
        let error = death::explain(shared, self.slot.ids(), process, connection, closed).await;
        self.slot.clear();
        let death = error();
        self.slot.log(WorkerLogEvent::Died(&death));
        self.slot.set_last_error(&death);
        shared.driver.lock().fail(id, error);
        shared.notify(&WorkerEvent::Died {
            worker: *worker,
            error: &death,
        });
    }

    /// Ends a worker that asked to drain and has answered all of its calls.
    async fn retire(&self, running: Running) {
        let Slot { worker, shared, .. } = &self.slot;
        self.slot.set_state(WorkerState::Restarting);
        shared.driver.lock().close(running.connection.id());
        drop(running.connection);
        if let Some(process) = running.process {
            death::wait_for_exit(&process).await;
            kill_and_wait(shared, *worker, &process).await;
        }
        self.slot.clear();
        shared.records.settled(*worker).await;
        self.slot.log(WorkerLogEvent::Drained);
        shared.notify(&WorkerEvent::Drained { worker: *worker });
    }

    /// The next worker; `None` when the pool stops first.
    async fn replacement(&mut self) -> Option<Running> {
        loop {
            let running = self.restart().await?;
            match running {
                Ok(mut running) => {
                    self.slot.activate(&mut running, Predecessor::Gone);
                    self.answer(Ok(false));
                    return Some(running);
                }
                Err(failure) => self.give_up(failure),
            }
            // The cause of the failed starts may be removed by now.
            tokio::select! {
                biased;
                _ = self.slot.stopped() => return None,
                reload = self.reloads.recv() => self.reload = Some(reload?),
            }
        }
    }

    /// A new worker after a pause, or the last failure after too many; `None` when the pool stops first. A reload that
    /// is requested during the pause starts at once, and fails if its first start fails.
    async fn restart(&mut self) -> Option<Result<Running, Arc<StartFailure>>> {
        let mut failed_starts = 0;
        loop {
            self.failures = self.failures.saturating_add(1);
            self.incarnation += 1;
            let restart = &self.slot.shared.config.restart;
            let pause = match self.reload {
                None => restart.backoff(self.failures, fastrand::f64()),
                // A reload means that the cause of the failed starts is removed.
                Some(_) => Duration::ZERO,
            };
            let max_attempts = restart.max_attempts;
            let started = tokio::select! {
                started = start_after(&self.slot, pause, self.incarnation) => started,
                Some(reload) = self.reloads.recv(), if self.reload.is_none() => {
                    self.reload = Some(reload);
                    self.slot.abort_start().await;
                    continue;
                }
                _ = self.slot.stopped() => {
                    self.slot.abort_start().await;
                    return None;
                }
            };
            let failure = match started {
                Ok(running) => return Some(Ok(running)),
                Err(failure) => Arc::new(failure),
            };
            failed_starts += 1;
            // An external worker may come back at any time.
            if failed_starts == max_attempts && matches!(self.slot.kind, WorkerKind::Spawned(_)) {
                return Some(Err(failure));
            }
            self.answer(Err(failure));
        }
    }

    fn give_up(&mut self, failure: Arc<StartFailure>) {
        self.slot.log(WorkerLogEvent::GivenUp);
        self.slot
            .close(StopReason::NotStarted(Arc::clone(&failure)));
        self.answer(Err(failure));
    }

    /// Answers the reload in progress, if there is one.
    fn answer(&mut self, replacement: Replacement) {
        if let Some(reload) = self.reload.take() {
            reload.answer(replacement);
        }
    }

    /// The pool stops: ends the worker. Returns whether it had to be killed.
    async fn end(&self, running: Running, grace: Duration) -> bool {
        let shared = &self.slot.shared;
        self.slot.abort_start().await;
        shared.driver.lock().close(running.connection.id());
        stop::stop_worker(shared, self.slot.ids(), running, grace, pending()).await
    }
}

/// Runs whenever the slot's task ends, also after a panic or with the runtime: no call may wait for a worker that no
/// task looks after.
impl Drop for Lifecycle {
    fn drop(&mut self) {
        self.slot.close(self.slot.why_dropped());
    }
}

async fn serve_until(
    slot: &Slot,
    running: &mut Running,
    otherwise: impl Future<Output = Ending>,
) -> Ending {
    let process = running.process.clone();
    tokio::select! {
        biased;
        grace = slot.stopped() => Ending::Stop(grace),
        closed = slot.serve(running) => Ending::Connection(closed),
        () = exited_but_connected(process) => Ending::Connection(Closed::ByPeer),
        ending = otherwise => ending,
    }
}

async fn next_reload(reloads: &mut mpsc::Receiver<Reload>) -> Ending {
    match reloads.recv().await {
        Some(reload) => Ending::Reload(reload),
        // The pool's last handle was dropped, which ends this task.
        None => pending().await,
    }
}

async fn start_after(
    slot: &Slot,
    pause: Duration,
    incarnation: u32,
) -> Result<Running, StartFailure> {
    sleep(pause).await;
    slot.start(incarnation).await
}
