use std::{
    io,
    path::{Path, PathBuf, absolute},
    process::Command,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    Process,
    connect::connect,
    death::{self, last_words, left_running},
    sink::Destination,
};
use crate::{
    StartFailure, StartFailureCause as Cause, WorkerOutput, WorkerState,
    connection::{Closed, Connection},
    error::chain,
    events::WorkerNews,
    observe::WorkerEvent,
    shared::Shared,
};

/// Keeps one slot of the pool filled: starts a worker, serves calls with it, explains its end,
/// and starts the next.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub(crate) worker: usize,
    pub(crate) source: Source,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: watch::Receiver<Stop>,
    /// Deaths and failed starts since the worker last lived for long.
    failures: u32,
    /// Tells the sockets of one slot's workers apart.
    incarnation: u32,
}

/// Where workers come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The pool starts them, with their sockets in this directory.
    Spawned(PathBuf),
    /// Somebody else does; this is the socket.
    External(PathBuf),
}

/// What the pool wants of its workers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    No,
    /// End within this time, or be killed.
    Within(Duration),
}

/// A worker that is ready for calls.
#[derive(Debug)]
pub(crate) struct Running {
    connection: Connection,
    process: Option<Arc<Process>>,
}

/// What ends a time of service.
enum Ending {
    Connection(Closed),
    Stop,
}

impl Lifecycle {
    pub(crate) fn new(
        worker: usize,
        source: Source,
        shared: Arc<Shared>,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        Self {
            worker,
            source,
            shared,
            stop,
            failures: 0,
            incarnation: 0,
        }
    }

    /// Serves until the pool stops or the worker is given up. Returns whether the last worker had
    /// to be killed at the stop.
    pub(crate) async fn run(mut self, mut running: Running) -> bool {
        loop {
            let since = Instant::now();
            let ending = self.serve(&mut running).await;
            let closed = match ending {
                Ending::Connection(closed) => closed,
                Ending::Stop => return self.end(running).await,
            };
            if since.elapsed() >= self.shared.config.restart.max_backoff {
                self.failures = 0;
            }
            // It may be faster than our look at what it said.
            let drained = self.shared.scheduler().has_drained(self.worker);
            match closed {
                Closed::Drained | Closed::ByPeer if drained => self.see_off(running).await,
                closed => self.bury(running, closed).await,
            }
            match self.replacement().await {
                Some(next) => running = next,
                None => return false,
            }
        }
    }

    async fn serve(&mut self, running: &mut Running) -> Ending {
        let process = running.process.clone();
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => Ending::Stop,
            closed = running.connection.run(&self.shared, self.worker) => Ending::Connection(closed),
            () = left_running(process) => Ending::Connection(Closed::ByPeer),
        }
    }

    /// Starts a worker and shakes hands with it.
    ///
    /// Cancellation safety: the process is killed when the future is dropped.
    pub(crate) async fn start(&mut self) -> Result<Running, StartFailure> {
        self.incarnation += 1;
        let limit = self.shared.config.start_timeout;
        let socket = self.socket();
        let (mut process, mut last_error) = (None, None);
        let started = self.try_start(&socket, &mut process, &mut last_error);
        let result = timeout(limit, started).await;
        let cause = match result {
            Ok(Ok(connection)) => {
                let running = Running {
                    connection,
                    process,
                };
                self.open(&running);
                return Ok(running);
            }
            Ok(Err(cause)) => cause,
            Err(_) => Cause::Timeout {
                socket,
                limit,
                source: last_error,
            },
        };
        Err(self.bury_unborn(cause, process).await)
    }

    fn socket(&self) -> PathBuf {
        match &self.source {
            Source::External(socket) => socket.clone(),
            Source::Spawned(dir) => {
                dir.join(format!("worker-{}.{}.sock", self.worker, self.incarnation))
            }
        }
    }

    async fn try_start(
        &self,
        socket: &Path,
        process: &mut Option<Arc<Process>>,
        last_error: &mut Option<io::Error>,
    ) -> Result<Connection, Cause> {
        let (config, features) = (&self.shared.config, self.shared.features);
        if let Source::External(_) = self.source {
            return connect(socket, false, config, features, last_error).await;
        }
        let spawned = process.insert(Arc::new(self.spawn(socket).await?));
        self.log(WorkerNews::Started { pid: spawned.pid() });
        self.with_worker(|it| it.process = Some(Arc::clone(spawned)));
        tokio::select! {
            biased;
            result = connect(socket, true, config, features, last_error) => result,
            status = spawned.exited() => Err(Cause::Exited(status)),
        }
    }

    /// From now on the worker gets calls.
    fn open(&self, running: &Running) {
        let Running {
            connection,
            process,
        } = running;
        let pid = process
            .as_ref()
            .map(|it| it.pid())
            .or(connection.peer_pid());
        let restarted = self.incarnation > 1;
        let mut restarts = u64::from(restarted);
        self.with_worker(|it| {
            it.pid = pid;
            it.state = WorkerState::Ready;
            restarts += it.restarts;
        });
        self.log(WorkerNews::Ready { pid, restarts });
        let tail = process.as_ref().map(|it| it.tail().clone());
        self.shared.records.begin(self.worker, pid, tail);
        let now = std::time::Instant::now();
        let wakers = self
            .shared
            .scheduler()
            .lane_up(self.worker, connection.peer(), now);
        wakers.into_iter().for_each(Waker::wake);
        self.shared.tell(&WorkerEvent::Ready {
            worker: self.worker,
            pid,
            restarted,
        });
    }

    async fn spawn(&self, socket: &Path) -> Result<Process, Cause> {
        let config = &self.shared.config;
        let mut command = Command::new(program(&config.python_exec));
        command
            .args(&config.worker_script)
            .args(&config.args)
            .envs(&config.env)
            .env("PYPROC_SOCKET_PATH", socket)
            .env("PYPROC_PARENT_PID", std::process::id().to_string())
            .env("PYPROC_WORKER_ID", self.worker.to_string())
            .env("PYPROC_MAX_FRAME_SIZE", config.max_frame_size.to_string())
            .env("PYPROC_SPIN_US", config.spin.as_micros().to_string());
        if let Some(dir) = &config.working_dir {
            command.current_dir(dir);
        }
        Process::spawn(command, self.destination())
            .await
            .map_err(|source| Cause::Spawn {
                program: config.python_exec.clone(),
                source,
            })
    }

    fn destination(&self) -> Destination {
        let shared = &self.shared;
        match shared.config.output {
            WorkerOutput::Discard => Destination::Nowhere,
            WorkerOutput::Log => Destination::Log {
                worker: self.worker,
                subscriber: shared.subscriber.clone(),
                rate: shared.config.log_rate,
            },
            // What `Auto` means was decided at the start.
            WorkerOutput::Inherit | WorkerOutput::Auto => Destination::Stderr,
        }
    }

    /// A worker that never became ready.
    async fn bury_unborn(&self, mut cause: Cause, process: Option<Arc<Process>>) -> StartFailure {
        if let Some(process) = &process {
            // One that hung up during the handshake is usually on its way out.
            if let Cause::Closed | Cause::Handshake(_) = cause
                && let Some(status) = death::own_end(process).await
            {
                cause = Cause::Exited(status);
            }
            last_words(&self.shared, self.worker, process).await;
        }
        self.forget_process();
        let failure = self.failure(cause, process.as_deref());
        self.log(WorkerNews::NotStarted(&failure));
        self.shared.tell(&WorkerEvent::StartFailed {
            worker: self.worker,
            failure: &failure,
        });
        failure
    }

    fn failure(&self, cause: Cause, process: Option<&Process>) -> StartFailure {
        StartFailure {
            worker: self.worker,
            cause,
            output: process.map_or_else(String::new, |it| it.tail().text()),
        }
    }

    /// Ends what is left of a worker, and tells the calls that it had.
    async fn bury(&mut self, running: Running, closed: Closed) {
        self.set_state(WorkerState::Restarting);
        self.shared.scheduler().lane_down(self.worker);
        let error = death::explain(
            &self.shared,
            self.worker,
            running.process,
            running.connection,
            closed,
        )
        .await;
        self.forget_process();
        let death = error();
        self.log(WorkerNews::Died(&death));
        self.note_failure(&death);
        let wakers = self.shared.scheduler().fail_lane(self.worker, error);
        wakers.into_iter().for_each(Waker::wake);
        self.shared.tell(&WorkerEvent::Died {
            worker: self.worker,
            error: &death,
        });
    }

    /// Sees a worker off that wanted to go, and has answered all that it had.
    async fn see_off(&mut self, running: Running) {
        self.set_state(WorkerState::Restarting);
        self.shared.scheduler().lane_down(self.worker);
        drop(running.connection);
        if let Some(process) = running.process {
            death::own_end(&process).await;
            last_words(&self.shared, self.worker, &process).await;
        }
        self.forget_process();
        self.shared.records.settled().await;
        self.log(WorkerNews::Drained);
        self.shared.tell(&WorkerEvent::Drained {
            worker: self.worker,
        });
    }

    /// The next worker; `None` when the pool stops first, or the slot is given up.
    async fn replacement(&mut self) -> Option<Running> {
        let mut failed_starts = 0;
        loop {
            self.failures = self.failures.saturating_add(1);
            let restart = &self.shared.config.restart;
            let pause = restart.backoff(self.failures, fastrand::f64());
            let max_attempts = restart.max_attempts;
            let mut stop = self.stop.clone();
            let started = tokio::select! {
                started = self.start_after(pause) => started,
                () = stopped(&mut stop) => {
                    self.end_unborn().await;
                    return None;
                }
            };
            let failure = match started {
                Ok(running) => {
                    self.with_worker(|it| it.restarts += 1);
                    return Some(running);
                }
                Err(failure) => failure,
            };
            self.note_failure(&failure);
            failed_starts += 1;
            // Whoever runs an external worker may bring it back at any time.
            if failed_starts == max_attempts && matches!(self.source, Source::Spawned(_)) {
                self.give_up(failure);
                return None;
            }
        }
    }

    async fn start_after(&mut self, pause: Duration) -> Result<Running, StartFailure> {
        sleep(pause).await;
        self.start().await
    }

    fn give_up(&self, failure: StartFailure) {
        self.log(WorkerNews::GivenUp);
        self.leave(Some(Arc::new(failure)));
    }

    /// The slot stays empty from now on.
    fn leave(&self, failure: Option<Arc<StartFailure>>) {
        self.forget_process();
        let worker = self.worker;
        let before = std::mem::replace(
            &mut self.shared.workers()[worker].state,
            WorkerState::Stopped,
        );
        let wakers = self.shared.scheduler().lane_gone(self.worker, failure);
        wakers.into_iter().for_each(Waker::wake);
        if before != WorkerState::Stopped {
            self.log(WorkerNews::Stopped);
            self.shared.tell(&WorkerEvent::Stopped { worker });
        }
    }

    fn note_failure(&self, error: &(dyn std::error::Error + 'static)) {
        let error = chain(error);
        self.with_worker(|it| it.last_error = Some(error));
    }

    /// The pool stops while a worker is being started.
    async fn end_unborn(&self) {
        let process = self.shared.workers()[self.worker].process.take();
        if let Some(process) = process {
            last_words(&self.shared, self.worker, &process).await;
        }
    }

    /// The pool stops: ends the worker, by force if need be, which is what is returned.
    async fn end(&self, running: Running) -> bool {
        self.shared.scheduler().lane_down(self.worker);
        let Stop::Within(grace) = *self.stop.borrow() else {
            return false;
        };
        let killed = match running.process {
            Some(process) => self.terminate(process, running.connection, grace).await,
            None => {
                // Somebody else's worker goes on, so only what has arrived is read.
                self.hear_out(running.connection, None, Duration::ZERO)
                    .await;
                false
            }
        };
        self.shared.records.settled().await;
        killed
    }

    async fn terminate(
        &self,
        process: Arc<Process>,
        connection: Connection,
        grace: Duration,
    ) -> bool {
        process.terminate();
        let ended = async {
            // The other half is for a worker that waits for its client to hang up.
            self.hear_out(connection, Some(Arc::clone(&process)), grace / 2)
                .await;
            process.exited().await;
        };
        let killed = timeout(grace, ended).await.is_err();
        last_words(&self.shared, self.worker, &process).await;
        killed
    }

    /// Reads what a worker that is to end still reports, and hangs up.
    async fn hear_out(
        &self,
        mut connection: Connection,
        process: Option<Arc<Process>>,
        limit: Duration,
    ) {
        if !connection.peer().features().has_telemetry() {
            return;
        }
        let farewell = async {
            tokio::select! {
                biased;
                () = connection.farewell(&self.shared, self.worker) => {}
                () = left_running(process) => {}
            }
        };
        let _ = timeout(limit, farewell).await;
    }

    fn forget_process(&self) {
        self.with_worker(|it| {
            it.process = None;
            it.pid = None;
        });
    }

    fn set_state(&self, state: WorkerState) {
        self.with_worker(|it| it.state = state);
    }

    fn log(&self, news: WorkerNews<'_>) {
        self.shared.log(self.worker, news);
    }

    fn with_worker(&self, change: impl FnOnce(&mut crate::shared::Worker)) {
        change(&mut self.shared.workers()[self.worker]);
    }
}

/// Whatever ends the task of a slot, also a panic or the end of its runtime: no call waits for a
/// worker that nobody looks after.
impl Drop for Lifecycle {
    fn drop(&mut self) {
        self.leave(None);
    }
}

/// A path is taken from the service's directory, whatever the worker's is; a plain name is looked
/// up in `PATH`.
fn program(python: &Path) -> PathBuf {
    match python.components().count() {
        1 => python.into(),
        _ => absolute(python).unwrap_or_else(|_| python.into()),
    }
}

async fn stopped(stop: &mut watch::Receiver<Stop>) {
    // The sender is gone only when the pool is.
    let _ = stop.wait_for(|stop| matches!(stop, Stop::Within(_))).await;
}
