//! Workers from before the hello: they answer in the order of their requests, and read one only when the one before is
//! answered.
//!
//! So an error without an id is the answer to the oldest request that such a worker has. The published `pyproc-worker`
//! 0.1.0 sends one when it cannot write a result or read a request; then it reads nothing more on that connection, and
//! accepts the next. Its other requests had not begun: they are kept until they are answered, and go back to the queue.

use std::{iter, sync::Arc, time::Instant};

use pyproc_protocol::{Failure, FrameError, MessageError, SessionError, v2::Response};

use super::{
    CallId, ConnectionId, Scheduler,
    actions::Attribution,
    call_table::CallState,
    in_order::{InOrder, Unanswered},
};
use crate::{Error, ProtocolViolation, outgoing::Payload};

/// What to do with the connection of a worker that did something wrong.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Only the call that was answered wrongly has failed.
    GoOn,
    /// The worker reads nothing more on it, and accepts another.
    Reconnect,
    /// Nothing on it can be trusted.
    Broken(ProtocolViolation),
}

impl Scheduler {
    /// Keeps a request that was sent to a worker that answers in order.
    pub(super) fn keep_unanswered(&mut self, on: ConnectionId, call: Unanswered) {
        if let Some(in_order) = self.in_order(on) {
            in_order.push(call);
        }
    }

    fn in_order(&mut self, on: ConnectionId) -> Option<&mut InOrder> {
        self.connections.get_mut(on)?.in_order.as_mut()
    }

    /// The worker has answered a call. If another was due, it does not answer in order after all.
    pub(super) fn on_answered_in_order(&mut self, on: ConnectionId, id: CallId) {
        let Some(in_order) = self.in_order(on) else {
            return;
        };
        match in_order.pop() {
            Some(answered) if answered.id == id => self.recycle(answered.request.payload),
            out_of_order => {
                let others = self.leave_order(on);
                let payload = out_of_order.map(|it| it.request.payload.into_bytes());
                let payloads = others.into_payloads().chain(payload);
                self.actions.discard.extend(payloads);
            }
        }
    }

    fn leave_order(&mut self, on: ConnectionId) -> InOrder {
        let connection = self.connections.get_mut(on);
        let unanswered = connection.and_then(|it| it.leave_order(on, &mut self.actions));
        unanswered.unwrap_or_default()
    }

    fn recycle(&mut self, payload: Payload) {
        match payload {
            Payload::Buffer(buffer) => self.keep(Some(buffer)),
            Payload::Shared(bytes) => self.actions.discard.push(bytes),
        }
    }

    /// The worker did something wrong, after all that it answered before.
    #[cold]
    pub(crate) fn on_violation(
        &mut self,
        on: ConnectionId,
        violation: ProtocolViolation,
        now: Instant,
    ) -> Verdict {
        let Some(oldest) = self.oldest(on) else {
            return Verdict::Broken(violation);
        };
        match violation {
            ProtocolViolation::Session(SessionError::Refused { message }) => {
                let failure = Failure {
                    message,
                    ..Failure::default()
                };
                let answer = Response::failure(oldest.to_wire(), failure);
                if let Err(violation) = self.on_answers(on, iter::once(answer), now) {
                    return Verdict::Broken(violation);
                }
                self.requeue(on, now);
                Verdict::Reconnect
            }
            // It knows no limit. What is still to come of the result is not read, so the connection is of no more use.
            ProtocolViolation::Session(SessionError::Frame(FrameError::TooLarge { .. })) => {
                self.fail_oldest(on, oldest, violation, now);
                self.requeue(on, now);
                Verdict::Reconnect
            }
            // It writes numbers that are no JSON, such as NaN, and does not know.
            ProtocolViolation::Session(SessionError::Message(MessageError::Json { .. })) => {
                self.fail_oldest(on, oldest, violation, now);
                self.refill(on, now);
                self.wake_if_drained();
                Verdict::GoOn
            }
            violation => Verdict::Broken(violation),
        }
    }

    /// The call that a worker that answers in order is about to answer.
    fn oldest(&self, on: ConnectionId) -> Option<CallId> {
        self.connections.get(on)?.in_order.as_ref()?.oldest()
    }

    /// What the worker answered cannot be read.
    fn fail_oldest(
        &mut self,
        on: ConnectionId,
        id: CallId,
        violation: ProtocolViolation,
        now: Instant,
    ) {
        let concurrent = self.calls.get(id).is_some_and(|call| call.concurrent);
        let Some(connection) = self.connections.get_mut(on) else {
            return;
        };
        connection.on_answer(concurrent);
        connection.on_answers(usize::from(!concurrent), now);
        let worker = connection.slot;
        if connection.attributes() {
            self.actions.attribute.push((on, Attribution::Answered));
        }
        self.on_answered_in_order(on, id);
        let source = Arc::new(violation);
        self.end_call(id, Error::Protocol { worker, source });
    }

    /// The worker reads nothing more on this connection: what it has not begun waits again, before all others.
    fn requeue(&mut self, on: ConnectionId, now: Instant) {
        let unread = self.leave_order(on);
        if let Some(connection) = self.connections.get_mut(on) {
            connection.forget_calls();
        }
        self.close(on);
        for Unanswered {
            id,
            target,
            request,
        } in unread.into_newest_first()
        {
            match self.calls.get_mut(id) {
                Some(call) if call.state.is_awaited() => {
                    call.state = CallState::Queued(target, request);
                    let concurrent = call.concurrent;
                    self.queue.push_front(id, concurrent);
                }
                // Its caller gave up.
                _ => {
                    self.calls.remove(id);
                    self.recycle(request.payload);
                }
            }
        }
        self.refill_others(now);
        // It was a worker that had been replaced, and the one after it is gone by now.
        self.fail_if_all_gone();
        self.wake_if_drained();
    }

    /// Other workers may have room for what waits again.
    fn refill_others(&mut self, now: Instant) {
        for id in self.connections.ids() {
            let in_flight = |it: &Self| it.connections.get(id).map_or(0, |it| it.in_flight);
            let before = in_flight(self);
            self.refill(id, now);
            if in_flight(self) > before
                && let Some(connection) = self.connections.get_mut(id)
            {
                self.actions.wake.extend(connection.batches.wake());
            }
        }
    }
}
