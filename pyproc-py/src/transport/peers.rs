//! Who may connect. Connections of other users are closed; the log says so now and then.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use pyo3::prelude::*;
use pyproc_protocol::v1::Response;

use super::outgoing::Outgoing;
use crate::ffi;

/// The users that may connect.
pub(crate) struct AllowedPeers {
    allowed: HashSet<u32>,
    /// The package's `REFUSAL`.
    reason: String,
    /// The package's `Refusals`.
    refusals: Py<PyAny>,
}

/// Connections that were closed and are not in the log yet.
#[derive(Default)]
pub(crate) struct RefusedConnections {
    count: u64,
    last_uid: u32,
}

impl AllowedPeers {
    pub(crate) fn new(settings: &Bound<'_, PyAny>) -> PyResult<Self> {
        let module = settings.py().import("pyproc_worker._system.peers")?;
        Ok(Self {
            allowed: module
                .call_method1("allowed_users", (settings,))?
                .extract()?,
            reason: module.getattr("REFUSAL")?.extract()?,
            refusals: module.call_method0("Refusals")?.unbind(),
        })
    }

    /// The user that connected, if it may not.
    pub(crate) fn foreign_user(&self, client: BorrowedFd<'_>) -> io::Result<Option<u32>> {
        let uid = ffi::peer_uid(client)?;
        Ok((!self.allowed.contains(&uid)).then_some(uid))
    }

    /// Sends the reason why the connection of this user is about to be closed, if that does not block.
    pub(crate) fn explain(&self, client: BorrowedFd<'_>, uid: u32, max_frame_size: usize) {
        let reason = self.reason.replace("{uid}", &uid.to_string());
        let mut outgoing = Outgoing::default();
        // The smallest maximum is 1,024 bytes, which is enough for this.
        let _ = Response::failure(0, reason).encode(max_frame_size, outgoing.end());
        // The client may have left.
        let _ = outgoing.send(client);
    }

    /// Logs what was refused, if anything.
    pub(crate) fn log(&self, py: Python<'_>, refused: &RefusedConnections) -> PyResult<()> {
        if refused.count > 0 {
            let arguments = (refused.last_uid, refused.count);
            self.refusals.bind(py).call_method1("add", arguments)?;
        }
        Ok(())
    }
}

impl RefusedConnections {
    pub(crate) fn add(&mut self, uid: u32) {
        self.count += 1;
        self.last_uid = uid;
    }
}
