//! What is left of a worker: its status, its last words, and what its calls are told.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    Process,
    process::{Exit, TO_DIE},
    slot::Seat,
};
use crate::{
    DeathCause, Error, WorkerDeath,
    driver::{Closed, Connection},
    events::WorkerNews,
    shared::Shared,
};

/// How long a worker that closed its connection may take to end by itself: an interpreter has things
/// to put in order. One that hangs is killed then.
const TO_END: Duration = Duration::from_secs(1);

/// How long the last of a dead worker's output, or of its answers, may take to arrive.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(100);

/// Ends what is left of a worker, whose last words are told by then, and makes the error for each call that it had.
pub(super) async fn explain(
    shared: &Shared,
    seat: Seat,
    process: Option<Arc<Process>>,
    connection: Connection,
    closed: Closed,
) -> Box<dyn Fn() -> Error + Send> {
    let worker = seat.worker;
    let cause = match closed {
        Closed::Violation(violation) => {
            if let Some(process) = &process {
                last_words(shared, worker, process).await;
            }
            shared.records.settled(seat.lane).await;
            let source = Arc::new(violation);
            return Box::new(move || Error::Protocol {
                worker,
                source: Arc::clone(&source),
            });
        }
        Closed::ByPeer | Closed::Drained | Closed::MustReconnect => DeathCause::Disconnected,
        Closed::Failed(error) => DeathCause::Connection(error),
    };
    // A worker that waits for its client to hang up sees it do so.
    drop(connection);
    let death = Arc::new(autopsy(shared, seat, process.as_deref(), cause).await);
    Box::new(move || Error::WorkerDied(Arc::clone(&death)))
}

/// Ends what is left of a worker, and says how it ended.
pub(super) async fn autopsy(
    shared: &Shared,
    seat: Seat,
    process: Option<&Process>,
    mut cause: DeathCause,
) -> WorkerDeath {
    if let Some(process) = process {
        let is_due = matches!(cause, DeathCause::Replaced);
        if !is_due && let Some(exit) = own_end(process).await {
            cause = exit.into();
        }
        last_words(shared, seat.worker, process).await;
    }
    // What it printed may be among its records.
    shared.records.settled(seat.lane).await;
    let output = process.map_or_else(String::new, |it| it.tail().text());
    WorkerDeath {
        worker: seat.worker,
        pid: process.map(Process::pid),
        wrapper: process.and_then(Process::wrapper),
        cause,
        output,
    }
}

/// How a process ended that ends by itself; `None` when it does not.
pub(super) async fn own_end(process: &Process) -> Option<Exit> {
    timeout(TO_END, process.exited()).await.ok()
}

/// Kills what is left of the process and waits until its end is known and its output read.
pub(crate) async fn last_words(shared: &Shared, worker: usize, process: &Process) {
    process.kill();
    if timeout(TO_DIE, process.exited()).await.is_err() {
        shared.log(worker, WorkerNews::Undead { pid: process.pid() });
        return;
    }
    let _ = timeout(LAST_WORDS, process.output().ended()).await;
}

/// Resolves when the process has ended but left its connection to a child, so that the
/// connection alone would never tell.
pub(super) async fn left_running(process: Option<Arc<Process>>) {
    match process {
        Some(process) => {
            process.exited().await;
            sleep(LAST_WORDS).await;
        }
        None => std::future::pending().await,
    }
}
