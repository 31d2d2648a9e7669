//! A worker drains: it finishes the requests that have arrived, and takes no more.

use std::mem;
use std::os::unix::process::parent_id;
use std::time::Instant;

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, poll};

use super::Server;
use super::polling::timespec;
use crate::state::ConnectionId;
use crate::telemetry::record_channel;
use crate::transport::Connection;

impl Server<'_, '_> {
    /// Takes no more than what has arrived already.
    pub(super) fn drain(&mut self) -> PyResult<()> {
        if mem::replace(&mut self.core.lock().draining, true) {
            return Ok(());
        }
        self.flush_deadline = Instant::now() + self.core.limits.flush;
        record_channel::drain(self.py)?;
        self.register_accepted()?;
        for connection_id in self.connection_ids() {
            if self.with(connection_id, |connection| connection.input_ended) == Some(false) {
                self.serve_connection(connection_id, PollFlags::IN)?;
            }
            // Under one lock: another thread may read what a client sends after it got the drain.
            self.with(connection_id, Connection::drain);
            self.update_connection(connection_id)?;
        }
        Ok(())
    }

    pub(super) fn is_finished(&mut self) -> bool {
        if !self.run_queue.is_empty() {
            return false;
        }
        let mut state = self.core.lock();
        if !state.draining {
            return false;
        }
        let has_async_calls = state.has_async_calls();
        if mem::replace(&mut self.had_async_calls, has_async_calls) {
            // The client gets the same time to read the answer, however long the call ran.
            self.flush_deadline = Instant::now() + self.core.limits.flush;
        }
        state.is_idle() || (!has_async_calls && Instant::now() > self.flush_deadline)
    }

    /// Sends what is left, and gives clients a bounded time to read it.
    pub(super) fn flush_clients(&mut self) -> PyResult<()> {
        record_channel::drain(self.py)?;
        let deadline = Instant::now() + self.core.limits.flush;
        for connection_id in self.connection_ids() {
            while self.has_unsent(connection_id) {
                let left = deadline.saturating_duration_since(Instant::now());
                let mut sockets = self.sockets.iter();
                let Some(polled) = sockets.find(|it| it.connection_id == connection_id) else {
                    break;
                };
                let mut fds = [PollFd::new(&*polled.socket, PollFlags::OUT)];
                let timeout = timespec(left);
                let polled = self.py.detach(|| poll(&mut fds, Some(&timeout)));
                if left.is_zero() || polled.is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends what the client takes. Returns whether something is left, and the client is there.
    fn has_unsent(&self, connection_id: ConnectionId) -> bool {
        let unsent = self.with(connection_id, |connection| {
            let sent = connection.outgoing.send(&*connection.socket);
            sent.is_ok() && !connection.outgoing.is_empty()
        });
        unsent == Some(true)
    }

    /// Whether the parent process has ended.
    pub(super) fn is_orphan(&self) -> bool {
        self.parent_pid.is_some_and(|parent| parent != parent_id())
    }
}
