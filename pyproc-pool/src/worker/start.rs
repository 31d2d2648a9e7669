//! Starts a worker: spawns the process, connects, and makes the handshake.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::time::timeout;

use super::{
    Process,
    connect::{self, is_not_yet},
    death::{self, LAST_OUTPUT, kill_and_wait},
    process::{Python, interpreter},
    slot::{Running, Slot, WorkerKind},
    socket_dir::Sockets,
};
use crate::{
    StartFailure, StartFailureCause as Cause, WorkerOutput, driver::Connection,
    events::WorkerLogEvent, observe::WorkerEvent, output::Destination, transport::Transport,
};

impl Slot {
    /// Starts a worker and makes the handshake. `incarnation` separates its socket from those of the slot's other
    /// workers.
    ///
    /// Cancellation safety: a process that was started stays until [`abort_start`](Self::abort_start).
    pub(super) async fn start(&self, incarnation: u32) -> Result<Running, StartFailure> {
        let limit = self.shared.config.start_timeout;
        let socket = self.socket(incarnation);
        let mut process = None;
        let mut last_error = Some(io::ErrorKind::NotFound.into());
        let started = self.try_start(&socket, &mut process, &mut last_error);
        let result = timeout(limit, started).await;
        let cause = match result {
            Ok(Ok(connection)) => return Ok(Running::new(connection, process, socket)),
            Ok(Err(cause)) => cause,
            Err(_) => Cause::Timeout {
                socket,
                limit,
                source: last_error,
            },
        };
        Err(self.start_failed(cause, process).await)
    }

    fn socket(&self, incarnation: u32) -> PathBuf {
        match &self.kind {
            WorkerKind::External(socket) => socket.clone(),
            WorkerKind::Spawned(sockets) => sockets.path_of(self.worker, incarnation),
            #[cfg(feature = "testing")]
            WorkerKind::InProcess(_) => PathBuf::from("in-process"),
        }
    }

    async fn try_start(
        &self,
        socket: &Path,
        process: &mut Option<Arc<Process>>,
        last_error: &mut Option<io::Error>,
    ) -> Result<Connection, Cause> {
        let WorkerKind::Spawned(sockets) = &self.kind else {
            let transport = self.connect(socket, last_error).await?;
            return self.handshake(transport, socket, false).await;
        };
        let spawned = process.insert(Arc::new(self.spawn(socket, sockets.clone()).await?));
        self.log(WorkerLogEvent::Started { pid: spawned.pid() });
        self.update(|it| it.processes.starting = Some(Arc::clone(spawned)));
        let transport = open_while_it_lives(spawned, socket, last_error).await?;
        connect::check_peer(&transport, socket)?;
        let python = Python::at_the_other_end(&transport);
        let mut handshake = pin!(self.handshake(transport, socket, true));
        tokio::select! {
            biased;
            result = &mut handshake => {
                let connection = result?;
                // The process that was found has answered, so it is the worker.
                python.into_iter().for_each(|it| spawned.answers_as(it));
                Ok(connection)
            }
            // It may have sent a hello before it ended, which the pool refuses.
            exit = spawned.exited() => match timeout(LAST_OUTPUT, handshake).await {
                Ok(Err(refused @ Cause::Handshake(_))) => Err(refused),
                _ => Err(exit.into()),
            }
        }
    }

    /// Connects to a worker that runs already.
    async fn connect(
        &self,
        socket: &Path,
        last_error: &mut Option<io::Error>,
    ) -> Result<Transport, Cause> {
        #[cfg(feature = "testing")]
        if let WorkerKind::InProcess(workers) = &self.kind {
            return Ok((workers.0)(self.worker));
        }
        connect::open(socket, is_not_yet, last_error).await
    }

    pub(super) async fn handshake(
        &self,
        transport: Transport,
        socket: &Path,
        owner: bool,
    ) -> Result<Connection, Cause> {
        connect::handshake(transport, socket, owner, &self.shared).await
    }

    async fn spawn(&self, socket: &Path, sockets: Sockets) -> Result<Process, Cause> {
        let config = &self.shared.config;
        let mut command = Command::new(interpreter::program(&config.python_exec));
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
        let left = PathBuf::from(socket);
        let on_end = move || sockets.remove(&left);
        Process::spawn(command, on_end, self.destination(), &self.workers.groups)
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
            // `Auto` was resolved when the pool started.
            WorkerOutput::Inherit | WorkerOutput::Auto => Destination::Stderr,
        }
    }

    /// Kills a worker that did not become ready, and returns the failure.
    async fn start_failed(&self, mut cause: Cause, process: Option<Arc<Process>>) -> StartFailure {
        if let Some(process) = &process {
            // A worker that closed the connection in the handshake is usually about to exit. One whose hello the pool
            // refused exits for that reason.
            if let Cause::Closed = cause
                && let Some(exit) = death::wait_for_exit(process).await
            {
                cause = exit.into();
            }
            kill_and_wait(&self.shared, self.worker, process).await;
        }
        self.update(|it| it.processes.starting = None);
        let output = process.map_or_else(String::new, |it| it.tail().text());
        if let Cause::Exited(_) = cause
            && interpreter::lacks_package(&output)
        {
            let python = interpreter::that_runs(&self.shared.config);
            cause = Cause::NoPackage { python };
        }
        let failure = StartFailure {
            worker: self.worker,
            cause,
            output,
        };
        self.set_last_error(&failure);
        self.log(WorkerLogEvent::NotStarted(&failure));
        self.shared.notify(&WorkerEvent::StartFailed {
            worker: self.worker,
            failure: &failure,
        });
        failure
    }

    /// Kills a worker whose start is no longer needed.
    pub(super) async fn abort_start(&self) {
        let process = self.workers.lock()[self.worker].processes.starting.take();
        if let Some(process) = process {
            kill_and_wait(&self.shared, self.worker, &process).await;
        }
    }
}

/// Connects to a worker, and stops trying when its process has ended. A connection that the system had accepted before
/// counts, because the worker may have sent the reason of its end on it.
async fn open_while_it_lives(
    process: &Process,
    socket: &Path,
    last_error: &mut Option<io::Error>,
) -> Result<Transport, Cause> {
    let ended = AtomicBool::new(false);
    let may_pass = |error: &io::Error| !ended.load(Relaxed) && is_not_yet(error);
    let mut opened = pin!(connect::open(socket, may_pass, last_error));
    tokio::select! {
        biased;
        result = &mut opened => result,
        exit = process.exited() => {
            ended.store(true, Relaxed);
            // At most one more attempt, because no error is accepted any more.
            opened.await.map_err(|_| exit.without_serving())
        }
    }
}
