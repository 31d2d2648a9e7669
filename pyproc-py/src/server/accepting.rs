//! The serving thread accepts clients.

use std::mem;
use std::sync::Arc;

use pyo3::prelude::*;
use rustix::event::PollFlags;

use super::Server;
use super::polling::PolledSocket;
use crate::state::accept;

impl Server<'_, '_> {
    pub(super) fn accept(&mut self) -> PyResult<()> {
        if let Err(error) = accept(self.core, self.listener) {
            // Most likely there are no more descriptors: it tries again later.
            self.accept_paused = true;
            let text = format!("cannot accept a connection: {error}");
            self.core.package.log_error(self.py, &text)?;
        }
        self.register_accepted()
    }

    /// Polls the connections that were accepted, from now on.
    pub(super) fn register_accepted(&mut self) -> PyResult<()> {
        let mut state = self.core.lock();
        let (accepted, refused) = (
            mem::take(&mut state.accepted),
            mem::take(&mut state.refused),
        );
        drop(state);
        for connection_id in accepted {
            let socket = self.with(connection_id, |connection| Arc::clone(&connection.socket));
            if let Some(socket) = socket {
                self.sockets.push(PolledSocket {
                    connection_id,
                    socket,
                    interest: PollFlags::empty(),
                });
                self.update_connection(connection_id)?;
            }
        }
        self.core.peers.log(self.py, &refused)
    }
}
