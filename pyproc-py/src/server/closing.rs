//! Closes connections, and ends the threads of a worker.

use std::thread::JoinHandle;

use pyo3::prelude::*;

use crate::run::async_calls;
use crate::state::{ConnectionId, Core};
use crate::telemetry::record_channel;

/// Ends the threads of a worker, whatever ended the worker.
pub(crate) fn end(py: Python<'_>, core: &Core, watcher: JoinHandle<()>) -> PyResult<()> {
    core.activity.stop();
    // It ends by itself even if it panicked.
    let _ = py.detach(|| watcher.join());
    // The watcher may have accepted clients that the serving thread has not registered.
    let left: Vec<ConnectionId> = core.lock().connections().map(|(id, _)| id).collect();
    let closed = left
        .into_iter()
        .try_for_each(|id| close(py, core, id).map(drop));
    async_calls::stop(py, core).and(closed)
}

/// Closes a connection: cancels its calls, and closes its channel for records. Returns whether it was the owner's.
pub(super) fn close(py: Python<'_>, core: &Core, id: ConnectionId) -> PyResult<bool> {
    let (connection, cancelled) = core.lock().remove(id);
    if !cancelled.is_empty() {
        core.cancel(py, cancelled);
    }
    let Some(connection) = connection else {
        return Ok(false);
    };
    if let Some(channel) = &connection.channel {
        record_channel::close(py, channel)?;
    }
    Ok(connection.session.is_owned())
}
