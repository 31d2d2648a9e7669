//! The end of a worker: its exit status, the last of its output, and the error that its calls fail with.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    Process,
    process::{Exit, TO_DIE},
    slot::WorkerIds,
};
use crate::{
    DeathCause, Error, WorkerDeath,
    driver::{Closed, Connection},
    events::WorkerLogEvent,
    shared::Shared,
};

/// How long a worker that closed its connection may take to exit by itself: the interpreter has to clean up. A worker
/// that hangs is killed after that.
const TO_END: Duration = Duration::from_secs(1);

/// How long the last of a dead worker's output, or of its answers, may take to arrive.
pub(super) const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// Kills what is left of a worker, waits until its last output and records are handled, and makes the error for each of
/// its calls.
pub(super) async fn explain(
    shared: &Shared,
    ids: WorkerIds,
    process: Option<Arc<Process>>,
    connection: Connection,
    closed: Closed,
) -> Box<dyn Fn() -> Error + Send> {
    let worker = ids.worker;
    let cause = match closed {
        Closed::Violation(violation) => {
            if let Some(process) = &process {
                kill_and_wait(shared, worker, process).await;
            }
            shared.records.settled(ids.producer).await;
            let source = Arc::new(violation);
            return Box::new(move || Error::Protocol {
                worker,
                source: Arc::clone(&source),
            });
        }
        Closed::ByPeer | Closed::Drained | Closed::MustReconnect => DeathCause::Disconnected,
        Closed::Failed(error) => DeathCause::Connection(error),
    };
    // A worker that waits until its client closes the connection can end now.
    drop(connection);
    let death = Arc::new(worker_death(shared, ids, process.as_deref(), cause).await);
    Box::new(move || Error::WorkerDied(Arc::clone(&death)))
}

/// Kills what is left of a worker, and returns how it ended.
pub(super) async fn worker_death(
    shared: &Shared,
    ids: WorkerIds,
    process: Option<&Process>,
    mut cause: DeathCause,
) -> WorkerDeath {
    if let Some(process) = process {
        let is_due = matches!(cause, DeathCause::Replaced);
        if !is_due && let Some(exit) = wait_for_exit(process).await {
            cause = exit.into();
        }
        kill_and_wait(shared, ids.worker, process).await;
    }
    // Its records may include lines that it printed.
    shared.records.settled(ids.producer).await;
    let output = process.map_or_else(String::new, |it| it.tail().text());
    WorkerDeath {
        worker: ids.worker,
        pid: process.map(Process::pid),
        wrapper: process.and_then(Process::wrapper),
        cause,
        output,
    }
}

/// How a process ended that exits by itself in time; `None` if it does not.
pub(super) async fn wait_for_exit(process: &Process) -> Option<Exit> {
    timeout(TO_END, process.exited()).await.ok()
}

/// Kills what is left of the process, and waits until its exit is known and its output is read.
pub(crate) async fn kill_and_wait(shared: &Shared, worker: usize, process: &Process) {
    process.kill();
    if timeout(TO_DIE, process.exited()).await.is_err() {
        shared.log(worker, WorkerLogEvent::Unkillable { pid: process.pid() });
        return;
    }
    let _ = timeout(LAST_OUTPUT, process.output().ended()).await;
}

/// Resolves when the process has exited but a child of it still holds its connection, so that the connection stays
/// open.
pub(super) async fn exited_but_connected(process: Option<Arc<Process>>) {
    match process {
        Some(process) => {
            process.exited().await;
            sleep(LAST_OUTPUT).await;
        }
        None => std::future::pending().await,
    }
}
