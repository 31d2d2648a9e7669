//! Telemetry's way to one client; see `pyproc_worker._channel`.

use std::sync::Arc;

use pyo3::prelude::*;
use rustix::event::PollFlags;

use crate::package::Lazy;
use crate::state::{Core, Place};

static OPEN: Lazy = Lazy::new("pyproc_worker._channel", "open_channel");
static CLOSE: Lazy = Lazy::new("pyproc_worker._channel", "close_channel");
static DRAIN: Lazy = Lazy::new("pyproc_worker._channel", "drain");

/// What a `Channel` sends by.
#[pyclass(frozen, module = "pyproc_worker._core")]
struct Reporter {
    core: Arc<Core>,
    place: Place,
}

#[pymethods]
impl Reporter {
    /// See `Channel.send`.
    fn send(&self, records: &[u8]) -> bool {
        if self.core.forks.has_forked() {
            return false; // the lock may be held by a thread that is not here
        }
        let mut state = self.core.lock();
        let Some(connection) = state.get(self.place) else {
            return false;
        };
        let is_taken = connection.report(records);
        let waits = !connection.outgoing.is_empty();
        let looks_for_room = connection.interest.contains(PollFlags::OUT);
        let is_news = connection.lost || (waits && !looks_for_room);
        drop(state);
        if is_news {
            self.core.wake();
        }
        is_taken
    }
}

/// Opens the channel to a client whose hello put `features` in force. What goes through it follows
/// the answer to the hello, which must be on its way.
pub(crate) fn open(
    py: Python<'_>,
    core: &Arc<Core>,
    place: Place,
    features: Vec<&str>,
) -> PyResult<()> {
    let reporter = Reporter {
        core: Arc::clone(core),
        place,
    };
    let send = Bound::new(py, reporter)?.getattr("send")?;
    let channel = OPEN.get(py)?.call1((features, send))?;
    let channel = Arc::new(channel.unbind());
    if let Some(connection) = core.lock().get(place) {
        connection.client.channel = Some(channel);
        return Ok(());
    }
    close(py, &channel) // the client left meanwhile
}

pub(crate) fn close(py: Python<'_>, channel: &Py<PyAny>) -> PyResult<()> {
    CLOSE.get(py)?.call1((channel,))?;
    Ok(())
}

/// Lets leave what others keep for a channel.
pub(crate) fn drain(py: Python<'_>) -> PyResult<()> {
    DRAIN.get(py)?.call0()?;
    Ok(())
}
