//! The channel by which the package sends records to one client; see `pyproc_worker._calls.channels`.

use std::sync::Arc;

use pyo3::prelude::*;
use rustix::event::PollFlags;

use crate::package::LazyImport;
use crate::state::{ConnectionId, Core};

static OPEN: LazyImport = LazyImport::new("pyproc_worker._calls.channels", "open_channel");
static CLOSE: LazyImport = LazyImport::new("pyproc_worker._calls.channels", "close_channel");
static DRAIN: LazyImport = LazyImport::new("pyproc_worker._calls.channels", "drain");

/// The sending end of a `Channel`.
#[pyclass(frozen, module = "pyproc_worker._core")]
struct RecordSender {
    core: Arc<Core>,
    connection_id: ConnectionId,
}

#[pymethods]
impl RecordSender {
    /// See `Channel.send`.
    fn send(&self, records: &[u8]) -> bool {
        if self.core.forks.has_forked() {
            return false; // a thread that does not exist here may hold the lock
        }
        let mut state = self.core.lock();
        let Some(connection) = state.get(self.connection_id) else {
            return false;
        };
        let is_taken = connection.send_records(records);
        let is_waiting = !connection.outgoing.is_empty();
        let is_polled = connection.interest.contains(PollFlags::OUT);
        let needs_serving_thread = connection.send_failed || (is_waiting && !is_polled);
        drop(state);
        if needs_serving_thread {
            self.core.wake();
        }
        is_taken
    }
}

/// Opens the channel to a client whose hello agreed on `features`. Its records follow
/// the answer to the hello, which must be sent or in the buffer already.
pub(crate) fn open(
    py: Python<'_>,
    core: &Arc<Core>,
    connection_id: ConnectionId,
    features: Vec<&str>,
) -> PyResult<()> {
    let sender = RecordSender {
        core: Arc::clone(core),
        connection_id,
    };
    let send = Bound::new(py, sender)?.getattr("send")?;
    let channel = OPEN.get(py)?.call1((features, send))?;
    let channel = Arc::new(channel.unbind());
    if let Some(connection) = core.lock().get(connection_id) {
        connection.channel = Some(channel);
        return Ok(());
    }
    close(py, &channel) // the connection was closed in the meantime
}

pub(crate) fn close(py: Python<'_>, channel: &Py<PyAny>) -> PyResult<()> {
    CLOSE.get(py)?.call1((channel,))?;
    Ok(())
}

/// Sends what others keep for a channel.
pub(crate) fn drain(py: Python<'_>) -> PyResult<()> {
    DRAIN.get(py)?.call0()?;
    Ok(())
}
