//! The end of a worker: it takes no more than what has arrived, and finishes it.

use std::mem;
use std::thread::JoinHandle;
use std::time::Instant;

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, poll};

use super::Server;
use super::waiting::timespec;
use crate::run::async_calls;
use crate::state::{Core, Place};
use crate::telemetry::record_channel;
use crate::transport::Connection;

impl Server<'_, '_> {
    /// Takes no more than what has arrived already, then finishes.
    pub(super) fn drain(&mut self) -> PyResult<()> {
        if mem::replace(&mut self.core.lock().draining, true) {
            return Ok(());
        }
        self.flush_deadline = Instant::now() + self.core.limits.flush;
        record_channel::drain(self.py)?;
        self.greet()?;
        for place in self.places() {
            if self.with(place, |connection| connection.ended) == Some(false) {
                self.serve_connection(place, PollFlags::IN)?;
            }
            // In one step: another thread may read what a client sends when it has the drain.
            self.with(place, Connection::drain);
            self.settle(place)?;
        }
        Ok(())
    }

    pub(super) fn is_finished(&mut self) -> bool {
        if !self.ready.is_empty() {
            return false;
        }
        let mut state = self.core.lock();
        if !state.draining {
            return false;
        }
        let runs = state.has_concurrent();
        if mem::replace(&mut self.ran_concurrent, runs) {
            // Its client has as long for the answer, however long it ran.
            self.flush_deadline = Instant::now() + self.core.limits.flush;
        }
        state.is_idle() || (!runs && Instant::now() > self.flush_deadline)
    }

    /// Gives clients a bounded time to read what is ready.
    pub(super) fn say_goodbye(&mut self) -> PyResult<()> {
        record_channel::drain(self.py)?;
        let deadline = Instant::now() + self.core.limits.flush;
        for place in self.places() {
            while self.sends_on(place) {
                let left = deadline.saturating_duration_since(Instant::now());
                let Some(one) = self.connections.iter().find(|one| one.place == place) else {
                    break;
                };
                let mut fds = [PollFd::new(&*one.socket, PollFlags::OUT)];
                let timeout = timespec(left);
                let room = self.py.detach(|| poll(&mut fds, Some(&timeout)));
                if left.is_zero() || room.is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether something is left to send to a client that is there.
    pub(super) fn sends_on(&self, place: Place) -> bool {
        let sent = self.with(place, |connection| {
            let sent = connection.outgoing.send(&*connection.socket);
            sent.is_ok() && !connection.outgoing.is_empty()
        });
        sent == Some(true)
    }

    pub(super) fn is_orphan(&self) -> bool {
        self.parent_pid
            .is_some_and(|parent| parent != std::os::unix::process::parent_id())
    }
}

/// Ends the threads of a worker, whatever ends the worker.
pub(crate) fn end(py: Python<'_>, core: &Core, watcher: JoinHandle<()>) -> PyResult<()> {
    core.pulse.stop();
    // It ends by itself even if it panicked.
    let _ = py.detach(|| watcher.join());
    // Clients that the watcher has accepted since the serving thread looked last.
    let late: Vec<Place> = core.lock().connections().map(|(place, _)| place).collect();
    let closed = late
        .into_iter()
        .try_for_each(|place| close(py, core, place).map(drop));
    async_calls::stop(py, core).and(closed)
}

/// Closes a connection, and tells all that have to do with it; whether it is the owner's.
pub(super) fn close(py: Python<'_>, core: &Core, place: Place) -> PyResult<bool> {
    let (connection, given_up) = core.lock().remove(place);
    if !given_up.is_empty() {
        core.tell(py, given_up);
    }
    let Some(connection) = connection else {
        return Ok(false);
    };
    if let Some(channel) = &connection.client.channel {
        record_channel::close(py, channel)?;
    }
    Ok(connection.session.is_owned())
}
