//! Answers that arrive, and requests to write.

use std::{mem, task::Waker, time::Instant};

use pyproc_protocol::v2::Response;

use super::{
    CallId, ConnectionId, Scheduler,
    actions::Attribution,
    batches::Batch,
    call_table::{Answered, CallState},
    calls::cannot_send,
    in_order::Unanswered,
    outbox::Outbox,
};
use crate::ProtocolViolation;

/// What a connection does after it has written all that it had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextWrite {
    /// Write the frames that it got.
    Frames,
    /// Yield first: callers are about to add requests.
    Yield,
    /// Sleep until it is woken. The worker has this number of calls in flight.
    Nothing { in_flight: usize },
    /// End: the worker accepts no requests, and has answered all that it had.
    Drained,
}

impl Scheduler {
    /// Completes the calls that the worker answered, and dispatches queued calls to it. Returns whether the
    /// connection's task should yield before it writes.
    pub(crate) fn on_answers(
        &mut self,
        id: ConnectionId,
        answers: impl Iterator<Item = Response>,
        now: Instant,
    ) -> Result<bool, ProtocolViolation> {
        let Some(connection) = self.connections.get(id).filter(|it| !it.is_closed()) else {
            // The connection is closed, and its calls have failed.
            return Ok(false);
        };
        let in_order = connection.in_order.is_some();
        let mut plain = 0;
        let before = self.actions.wake.len();
        for answer in answers {
            let call = CallId::from_wire(answer.id);
            plain += usize::from(!self.on_answer(id, answer, now)?);
            if in_order {
                self.on_answered_in_order(id, call);
            }
        }
        let woken = self.actions.wake.len() - before;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.on_answers(plain, now);
            connection.batches.on_woken(woken, connection.in_flight);
        }
        self.refill(id, now);
        self.wake_if_drained();
        let connection = self.connections.get_mut(id);
        Ok(connection.is_some_and(|it| it.batches.should_yield(it.in_flight)))
    }

    /// Returns whether the call ran concurrently with others.
    fn on_answer(
        &mut self,
        id: ConnectionId,
        answer: Response,
        now: Instant,
    ) -> Result<bool, ProtocolViolation> {
        let wire_id = answer.id;
        let unknown = || ProtocolViolation::UnknownId { id: wire_id };
        let call_id = CallId::from_wire(wire_id);
        let connection = self.connections.get_mut(id).ok_or_else(unknown)?;
        let call = self.calls.get_mut(call_id).ok_or_else(unknown)?;
        let (sent, cancelled) = match call.state {
            CallState::OnWorker {
                connection: owner,
                sent,
                cancelled,
            } if owner == id => (sent, cancelled),
            _ => return Err(unknown()),
        };
        let concurrent = call.concurrent;
        self.counters.answered += 1;
        connection.on_answer(concurrent);
        if connection.attributes() {
            self.actions.attribute.push((id, Attribution::Answered));
        }
        if cancelled {
            self.calls.remove(call_id);
            return Ok(concurrent);
        }
        call.state = CallState::Done(Ok(Answered {
            worker: connection.slot,
            answer,
            sent,
            received: now,
            worker_lists_none: !connection.lists_functions,
        }));
        self.actions.wake.extend(call.waker.take());
        Ok(concurrent)
    }

    /// Dispatches queued calls to the worker while it has room.
    pub(super) fn refill(&mut self, id: ConnectionId, now: Instant) {
        while self.queue.len() > 0
            && let Some(connection) = self.connections.get(id)
        {
            let (plain, concurrent) = (connection.has_room(false), connection.has_room(true));
            match self.queue.pop(plain, concurrent, &self.calls) {
                Some(call) => self.send_queued(id, call, now),
                None => return,
            }
        }
    }

    fn send_queued(&mut self, id: ConnectionId, call_id: CallId, now: Instant) {
        let (Some(call), Some(connection)) =
            (self.calls.get_mut(call_id), self.connections.get_mut(id))
        else {
            return;
        };
        let on_worker = CallState::on_worker(id, now);
        let CallState::Queued(target, mut request) = mem::replace(&mut call.state, on_worker)
        else {
            return;
        };
        let method = self.methods.resolve(&target);
        // No wake-up is needed: the caller is the connection's task, or that task is about to start.
        match connection.send(call_id, method, &mut request, call.concurrent, now) {
            Ok(buffer) if connection.in_order.is_none() => self.keep_buffer(buffer),
            Ok(_) => {
                if connection.attributes() {
                    let calling = request.envelope.calling(method.0);
                    self.actions
                        .attribute
                        .push((id, Attribution::Sent(calling)));
                }
                let unanswered = Unanswered {
                    id: call_id,
                    target,
                    request,
                };
                self.keep_unanswered(id, unanswered);
            }
            Err(source) => {
                let error = cannot_send(method.0, source);
                self.actions.discard.push(request.payload.into_bytes());
                self.end_call(call_id, error);
            }
        }
    }

    /// For a connection that has written all that it had: swaps the next frames with `empty`. If there are none, the
    /// scheduler wakes `waker` as soon as there are.
    pub(crate) fn next_write(
        &mut self,
        id: ConnectionId,
        empty: &mut Outbox,
        waker: &Waker,
    ) -> NextWrite {
        let Some(connection) = self.connections.get_mut(id).filter(|it| !it.is_closed()) else {
            return NextWrite::Nothing { in_flight: 0 };
        };
        let in_flight = connection.in_flight;
        if connection.batches.should_yield(in_flight) {
            return NextWrite::Yield;
        }
        if connection.batches.take(empty, waker) {
            return NextWrite::Frames;
        }
        match connection.has_drained() {
            true => NextWrite::Drained,
            false => NextWrite::Nothing { in_flight },
        }
    }

    /// A caller has written what it could. Returns the waker of the connection's task if that has to write the rest.
    pub(crate) fn on_written(&mut self, batch: Batch) -> Option<Waker> {
        let connection = self.connections.get_mut(batch.connection());
        let Some(connection) = connection.filter(|it| !it.is_closed()) else {
            self.actions.discard.extend(batch.into_payloads());
            return None;
        };
        connection.batches.on_written(batch)
    }
}
