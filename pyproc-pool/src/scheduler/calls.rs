//! The events of a call's caller: submit, poll, cancel.

use std::{
    task::{Context, Poll, Waker},
    time::Instant,
};

use pyproc_protocol::EncodeError;

use super::{
    CallId, ConnectionId, Scheduler, Slot,
    actions::Attribution,
    batches::Flush,
    call_table::{Call, CallState, Outcome},
    in_order::Unanswered,
    methods::MethodId,
};
use crate::{Error, outgoing::Outgoing};

/// Whether a call may wait for capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Queue,
    Now,
}

/// A call that the pool has accepted.
pub(crate) struct Submitted {
    pub(crate) id: CallId,
    /// A buffer for the caller's next call, if there is one.
    pub(crate) buffer: Option<Vec<u8>>,
    /// Who writes its request.
    pub(crate) flush: Flush,
}

/// What state a cancelled call was in.
pub(crate) enum Cancelled {
    Queued,
    /// In flight at the worker of this slot.
    OnWorker(usize),
    Answered(Outcome),
}

impl Scheduler {
    /// Submits a call of a function with this name and number: dispatches it to the least loaded worker, or queues it.
    /// The waker is part of the call from the start, so the caller need not poll before it is woken. The payload is
    /// taken out of the request unless the call is rejected: dropping a payload may run the user's code, which must not
    /// happen under the lock.
    pub(crate) fn submit(
        &mut self,
        (method, number): (&str, Option<MethodId>),
        request: &mut Option<Outgoing>,
        admission: Admission,
        waker: Waker,
        now: Instant,
    ) -> Result<Submitted, Error> {
        self.admit(admission)?;
        let concurrent = self.methods.is_concurrent(number);
        let Some(id) = self.least_loaded(concurrent) else {
            return self.wait_in_queue(method, request, concurrent, waker);
        };
        let Some(outgoing) = request else {
            // Unreachable: a call is submitted once.
            return Err(Error::ShutDown);
        };
        let deadline = outgoing.envelope.deadline;
        let call = self.enter(CallState::on_worker(id, now), concurrent, waker, deadline)?;
        let Some(connection) = self.connections.get_mut(id) else {
            // Unreachable: the connection has just been chosen.
            self.calls.remove(call);
            return Err(Error::ShutDown);
        };
        let sent = connection.send(call, (method, number), outgoing, concurrent, now);
        let mut buffer = match sent {
            Ok(buffer) => buffer,
            Err(source) => {
                self.calls.remove(call);
                return Err(cannot_send(method, source));
            }
        };
        let flush = connection.batches.flush(connection.in_flight);
        if connection.in_order.is_some() {
            if connection.attributes() {
                let calling = outgoing.envelope.calling(method);
                self.actions
                    .attribute
                    .push((id, Attribution::Sent(calling)));
            }
            if let Some(request) = request.take() {
                let target = self.methods.target_of(method);
                let unanswered = Unanswered {
                    id: call,
                    target,
                    request,
                };
                self.keep_unanswered(id, unanswered);
            }
            buffer = self.spare.pop();
        }
        // Only now: a call that fails above has no deadline to keep.
        self.arm(call, deadline);
        Ok(Submitted {
            id: call,
            buffer,
            flush,
        })
    }

    fn wait_in_queue(
        &mut self,
        method: &str,
        request: &mut Option<Outgoing>,
        concurrent: bool,
        waker: Waker,
    ) -> Result<Submitted, Error> {
        if self.calls.is_full() {
            return Err(self.reject());
        }
        let Some(request) = request.take() else {
            // Unreachable: a call is submitted once.
            return Err(Error::ShutDown);
        };
        let target = self.methods.target_of(method);
        let deadline = request.envelope.deadline;
        let queued = CallState::Queued(target, request);
        let id = self.enter(queued, concurrent, waker, deadline)?;
        self.queue.push(id, concurrent);
        self.arm(id, deadline);
        Ok(Submitted {
            id,
            buffer: self.spare.pop(),
            flush: Flush::Scheduled,
        })
    }

    fn admit(&mut self, admission: Admission) -> Result<(), Error> {
        if !self.open {
            return Err(Error::ShutDown);
        }
        if let Some(error) = self.all_stopped() {
            return Err(error);
        }
        let (mut room, mut taken) = (0, self.queue.len());
        if admission == Admission::Queue {
            room = self.limits.max_queue;
        }
        // Calls of a replaced worker are no load of the worker that now has the slot.
        for slot in &self.slots {
            let connection = match slot {
                Slot::Taken(id) => self.connections.get(*id),
                _ => None,
            };
            if admission == Admission::Queue || connection.is_some_and(|it| it.is_open()) {
                room += self.limits.max_in_flight;
                taken += connection.map_or(0, |it| it.in_flight);
            }
        }
        if taken < room {
            return Ok(());
        }
        Err(self.reject())
    }

    #[inline]
    fn enter(
        &mut self,
        state: CallState,
        concurrent: bool,
        waker: Waker,
        deadline: Instant,
    ) -> Result<CallId, Error> {
        let call = Call {
            state,
            concurrent,
            waker: Some(waker),
            deadline: Some(deadline),
        };
        match self.calls.insert(call) {
            Some(id) => Ok(id),
            None => Err(self.reject()),
        }
    }

    fn reject(&mut self) -> Error {
        self.counters.rejected += 1;
        Error::Overloaded {
            ready: self.ready(),
            in_flight: self.in_flight(),
            queued: self.queue.len(),
        }
    }

    /// The connection of the least loaded worker with room; `None` while other calls are queued.
    fn least_loaded(&self, concurrent: bool) -> Option<ConnectionId> {
        if !self.queue.is_empty(concurrent) {
            return None;
        }
        self.current()
            .filter(|(_, it)| it.has_room(concurrent))
            .min_by_key(|(_, it)| it.load(concurrent))
            .map(|(id, _)| id)
    }

    #[inline]
    fn arm(&mut self, id: CallId, deadline: Instant) {
        if self.timers.add(deadline, id, &self.calls) {
            self.actions.arm = Some(deadline);
        }
    }

    /// The outcome of a call, once there is one; the call then leaves the table. `None` if its deadline has passed
    /// before.
    pub(crate) fn poll_outcome(
        &mut self,
        id: CallId,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Outcome>> {
        let Some(call) = self.calls.get_mut(id) else {
            // Only a future that is polled after completion gets here.
            return Poll::Ready(Some(Err(Error::ShutDown)));
        };
        if !matches!(call.state, CallState::Done(_)) {
            if call.deadline.is_none() {
                return Poll::Ready(None);
            }
            match &mut call.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        match self.calls.remove(id).map(|call| call.state) {
            Some(CallState::Done(outcome)) => Poll::Ready(Some(outcome)),
            _ => Poll::Ready(Some(Err(Error::ShutDown))),
        }
    }

    /// The caller no longer waits. A call in flight stays in the table until the worker answers or dies, because the
    /// worker's capacity is taken until then.
    ///
    /// If the call was completed in the meantime, its outcome is returned.
    pub(crate) fn cancel(&mut self, id: CallId, reason: &str) -> Cancelled {
        let cancelled = match self.calls.get_mut(id).map(|call| &mut call.state) {
            Some(CallState::OnWorker {
                connection,
                cancelled,
                ..
            }) => {
                *cancelled = true;
                let connection = *connection;
                self.counters.abandoned += 1;
                Cancelled::OnWorker(self.notify_worker(connection, id, reason))
            }
            Some(CallState::Queued(..)) => {
                self.counters.abandoned += 1;
                self.leave_queue(id);
                Cancelled::Queued
            }
            _ => match self.calls.remove(id).map(|call| call.state) {
                Some(CallState::Done(outcome)) => Cancelled::Answered(outcome),
                // Unreachable: a call is cancelled at most once.
                _ => Cancelled::Queued,
            },
        };
        self.wake_if_drained();
        cancelled
    }

    /// Sends the worker a cancellation, if it understands one. Returns its slot.
    fn notify_worker(&mut self, connection: ConnectionId, id: CallId, reason: &str) -> usize {
        let Some(connection) = self.connections.get_mut(connection) else {
            // Unreachable: a connection exists as long as it has calls.
            return 0;
        };
        if connection.cancel(id, reason) {
            self.actions.wake.extend(connection.batches.wake());
        }
        connection.slot
    }

    fn leave_queue(&mut self, id: CallId) {
        let Some(call) = self.calls.remove(id) else {
            return;
        };
        self.queue.on_left(call.concurrent, &self.calls);
        if let CallState::Queued(_, request) = call.state {
            self.actions.discard.push(request.payload.into_bytes());
        }
    }
}

pub(super) fn cannot_send(method: &str, source: EncodeError) -> Error {
    Error::Encode {
        method: method.into(),
        path: String::new(),
        source,
    }
}
