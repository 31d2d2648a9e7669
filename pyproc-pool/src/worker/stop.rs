//! Stops a worker that has no calls left.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Process,
    death::{exited_but_connected, kill_and_wait},
    slot::{Running, WorkerIds},
};
use crate::{driver::Connection, shared::Shared};

/// Sends SIGTERM, and kills the worker if it does not end within `grace` or before `too_late`; returns whether it was
/// killed. Its last records are handled by then. An external worker is only disconnected.
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
                // The second half of the time is for a worker that waits until its client closes the connection.
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
            // The worker keeps running, so only what has already arrived is read.
            read_last_records(shared, ids.producer, connection, None, Duration::ZERO).await;
            false
        }
    };
    shared.records.settled(ids.producer).await;
    killed
}

/// Reads the records that a worker sends while it ends, and closes the connection.
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
