use std::{mem, task::Waker, time::Instant};

use bytes::Bytes;

use super::ids::ConnectionId;
use crate::outgoing::Calling;

/// What the scheduler wants done. Whoever drives it does so each time, in this order: the notifications first, while
/// nobody else can reach the scheduler; the rest once others can.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// Which calls the output of workers belongs to that do not say so themselves.
    pub(crate) attribute: Vec<(ConnectionId, Attribution)>,
    /// Call [`on_time`](super::Scheduler::on_time) at this time, which is earlier than all before.
    pub(crate) arm: Option<Instant>,
    /// Callers with an outcome or a passed deadline, connections with something to write, and who waits for the last answer.
    pub(crate) wake: Vec<Waker>,
    /// Payloads to be dropped: that may run their owners' code.
    pub(crate) discard: Vec<Bytes>,
}

/// What happened to the calls of a worker whose output is attributed to them.
#[derive(Debug)]
pub(crate) enum Attribution {
    /// The request is about to be written.
    Sent(Calling),
    /// The oldest call is answered.
    Answered,
    /// The worker has no call any more, or nobody knows which one it runs.
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
