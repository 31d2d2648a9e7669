//! The end of a worker that has nothing to do any more.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Process,
    death::{exited_but_connected, kill_and_wait},
    slot::{Running, WorkerIds},
};
use crate::{driver::Connection, shared::Shared};

/// Tells the worker to end, and kills it if it does not within `grace`, or before it is `too_late`; then `true` is returned.
/// Its last records are told by then. Somebody else's worker is only disconnected.
pub(super) async fn stop_worker(
    shared: &Shared,
    ids: WorkerIds,
    running: Running,
    grace: Duration,
    too_late: impl Future<Output = ()>,
) -> bool {
    let Running {
        connection,
        process,
        ..
    } = running;
    let killed = match process {
        Some(process) => {
            process.terminate();
            let ended = async {
                // The other half is for a worker that waits for its client to hang up.
                read_last_records(shared, ids.producer, connection, Some(&process), grace / 2)
                    .await;
                process.exited().await;
            };
            let killed = tokio::select! {
                biased;
                in_time = timeout(grace, ended) => in_time.is_err(),
                () = too_late => true,
            };
            kill_and_wait(shared, ids.worker, &process).await;
            killed
        }
        None => {
            // It goes on, so only what has arrived is read.
            read_last_records(shared, ids.producer, connection, None, Duration::ZERO).await;
            false
        }
    };
    shared.records.settled(ids.producer).await;
    killed
}

/// Reads what a worker that is to end still reports, and hangs up.
async fn read_last_records(
    shared: &Shared,
    producer: usize,
    mut connection: Connection,
    process: Option<&Arc<Process>>,
    limit: Duration,
) {
    if !connection.peer().features().has_telemetry() {
        return;
    }
    let reports = async {
        tokio::select! {
            biased;
            () = connection.read_until_drained(shared.records.sender(producer)) => {}
            () = exited_but_connected(process.cloned()) => {}
        }
    };
    let _ = timeout(limit, reports).await;
}
