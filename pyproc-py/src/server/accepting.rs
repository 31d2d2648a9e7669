//! New clients.

use std::mem;
use std::sync::Arc;

use pyo3::prelude::*;
use rustix::event::PollFlags;

use super::{Polled, Server};
use crate::state::accept;

impl Server<'_, '_> {
    pub(super) fn accept(&mut self) -> PyResult<()> {
        if let Err(error) = accept(self.core, self.listener) {
            // Out of descriptors, most likely: try again later.
            self.deaf = true;
            let text = format!("cannot accept a connection: {error}");
            self.core.package.log_error(self.py, &text)?;
        }
        self.greet()
    }

    /// Waits for connections that were accepted.
    pub(super) fn greet(&mut self) -> PyResult<()> {
        let mut state = self.core.lock();
        let (accepted, refused) = (
            mem::take(&mut state.accepted),
            mem::take(&mut state.refused),
        );
        drop(state);
        for place in accepted {
            let socket = self.with(place, |connection| Arc::clone(&connection.socket));
            if let Some(socket) = socket {
                let interest = PollFlags::empty();
                self.connections.push(Polled {
                    place,
                    socket,
                    interest,
                });
                self.settle(place)?;
            }
        }
        self.core.peers.log(self.py, &refused)
    }
}
