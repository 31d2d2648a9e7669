//! Polls sockets: what the serving thread waits for, and which events have come.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::spin::Spin;
use crate::state::ConnectionId;

/// The client closed the connection.
pub(super) const CLOSED: PollFlags = PollFlags::HUP.union(PollFlags::ERR).union(PollFlags::NVAL);

/// A connection's socket, and the events that it is polled for.
pub(super) struct PolledSocket {
    pub(super) connection_id: ConnectionId,
    pub(super) socket: Arc<OwnedFd>,
    pub(super) interest: PollFlags,
}

/// The events of one wait.
#[derive(Default)]
pub(super) struct ReadyEvents {
    pub(super) anything: bool,
    pub(super) accept: bool,
    pub(super) signal: bool,
    pub(super) wake: bool,
    pub(super) connections: Vec<(ConnectionId, PollFlags)>,
}

impl ReadyEvents {
    /// Assigns events to what was polled: the termination pipe, the wake pipe and the listener, then `sockets`.
    pub(super) fn of(events: &[PollFlags], sockets: &[PolledSocket]) -> Self {
        let [signal, wake, accept, connections @ ..] = events else {
            return Self::default();
        };
        let connections = sockets.iter().zip(connections);
        let connections = connections.filter(|(_, events)| !events.is_empty());
        Self {
            anything: events.iter().any(|events| !events.is_empty()),
            accept: !accept.is_empty(),
            signal: !signal.is_empty(),
            wake: !wake.is_empty(),
            connections: connections
                .map(|(polled, events)| (polled.connection_id, *events))
                .collect(),
        }
    }
}

/// Waits for events, without the interpreter lock if that may take a while. A
/// signal also ends the wait.
pub(super) fn wait_for(
    py: Python<'_>,
    spin: &mut Spin,
    fds: &mut [PollFd<'_>],
    timeout: Option<Duration>,
) -> PyResult<()> {
    if timeout == Some(Duration::ZERO) {
        return unless_interrupted(poll(fds, Some(&timespec(Duration::ZERO))));
    }
    let timeout = timeout.map(timespec);
    let result = py.detach(|| {
        let found = spin.spin(|| poll(fds, Some(&timespec(Duration::ZERO))) != Ok(0));
        if found {
            return Ok(1);
        }
        let result = poll(fds, timeout.as_ref());
        if result.is_ok_and(|count| count > 0) {
            spin.on_woken();
        }
        result
    });
    unless_interrupted(result)
}

fn unless_interrupted(result: rustix::io::Result<usize>) -> PyResult<()> {
    match result {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
