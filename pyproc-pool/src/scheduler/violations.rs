//! Violations of the protocol. Legacy workers, which have no hello, answer in the order of their requests, and read a
//! request only when the one before is answered.
//!
//! So an error without an id is the answer to the oldest request. The published `pyproc-worker` 0.1.0 sends one when it
//! cannot encode a result or decode a request; then it stops reading that connection, and accepts another. It has not
//! begun its other requests. They are kept until they are answered, and return to the queue.

use std::{iter, sync::Arc, time::Instant};

use pyproc_protocol::{Failure, FrameError, MessageError, SessionError, v2::Response};

use super::{
    CallId, ConnectionId, Scheduler,
    actions::Attribution,
    call_table::CallState,
    in_order::{InOrder, Unanswered},
};
use crate::{Error, ProtocolViolation, outgoing::Payload};

/// What to do with the connection of a worker that violated the protocol.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Continue: only one call has failed.
    Continue,
    /// Reconnect: the worker reads no more on this connection, and accepts another.
    Reconnect,
    /// Close: nothing on this connection can be trusted.
    Broken(ProtocolViolation),
}

impl Scheduler {
    /// Keeps a request that was sent to a legacy worker.
    pub(super) fn keep_unanswered(&mut self, on: ConnectionId, call: Unanswered) {
        if let Some(in_order) = self.in_order(on) {
            in_order.push(call);
        }
    }

    fn in_order(&mut self, on: ConnectionId) -> Option<&mut InOrder> {
        self.connections.get_mut(on)?.in_order.as_mut()
    }

    /// A legacy worker has answered a call. If it was not the oldest one, the worker does not answer in order.
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
            Payload::Buffer(buffer) => self.keep_buffer(Some(buffer)),
            Payload::Shared(bytes) => self.actions.discard.push(bytes),
        }
    }

    /// The worker violated the protocol, after all answers before.
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
            // Such a worker has no frame limit. The rest of the result is not read, so the connection is unusable.
            ProtocolViolation::Session(SessionError::Frame(FrameError::TooLarge { .. })) => {
                self.fail_oldest(on, oldest, violation, now);
                self.requeue(on, now);
                Verdict::Reconnect
            }
            // Such a worker writes numbers that are not JSON, such as NaN.
            ProtocolViolation::Session(SessionError::Message(MessageError::Json { .. })) => {
                self.fail_oldest(on, oldest, violation, now);
                self.refill(on, now);
                self.wake_if_drained();
                Verdict::Continue
            }
            violation => Verdict::Broken(violation),
        }
    }

    /// The call that a legacy worker answers next.
    fn oldest(&self, on: ConnectionId) -> Option<CallId> {
        self.connections.get(on)?.in_order.as_ref()?.oldest()
    }

    /// The oldest call fails: its answer cannot be decoded.
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

    /// The worker reads no more on this connection. The calls that it has not begun return to the front of the queue.
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
                // It was cancelled.
                _ => {
                    self.calls.remove(id);
                    self.recycle(request.payload);
                }
            }
        }
        self.refill_others(now);
        // A replaced worker may be the last one, while its successor has stopped.
        self.fail_queue_if_all_stopped();
        self.wake_if_drained();
    }

    /// Dispatches queued calls to all workers with room.
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
