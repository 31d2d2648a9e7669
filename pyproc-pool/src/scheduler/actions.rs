use std::{mem, task::Waker, time::Instant};

use bytes::Bytes;

use super::ids::ConnectionId;
use crate::outgoing::Calling;

/// What the scheduler asks the driver to do, after each event and in this order. Attributions are carried out under the
/// lock, the rest after its release.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// Which calls the output of legacy workers belongs to.
    pub(crate) attribute: Vec<(ConnectionId, Attribution)>,
    /// The driver calls [`on_time`](super::Scheduler::on_time) at this time, which is earlier than all before.
    pub(crate) arm: Option<Instant>,
    /// Callers that have an outcome or whose deadline has passed, connections that have something to write, and those
    /// who wait for the last answer.
    pub(crate) wake: Vec<Waker>,
    /// Payloads to drop. Dropping one may run its owner's code.
    pub(crate) discard: Vec<Bytes>,
}

/// A change in the calls of a legacy worker, to which its output is attributed.
#[derive(Debug)]
pub(crate) enum Attribution {
    /// A request is about to be written.
    Sent(Calling),
    /// The oldest call is answered.
    Answered,
    /// The worker has no calls, or it is unknown which one it runs.
    Forgotten,
}

impl Actions {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.wake.is_empty()
            && self.arm.is_none()
            && self.discard.is_empty()
            && self.attribute.is_empty()
    }

    pub(crate) fn take(&mut self) -> Self {
        mem::take(self)
    }
}
