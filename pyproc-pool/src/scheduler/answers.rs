//! Frames: answers that arrive, requests that are to be written.

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

/// What a connection is to do when it has written what it had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextWrite {
    /// It has got frames to write.
    Frames,
    /// Others first: they have more to write.
    Later,
    /// Sleep until it is woken; the worker has so many calls.
    Nothing { in_flight: usize },
    /// End: the worker takes no more requests, and has answered all that it had.
    Drained,
}

impl Scheduler {
    /// Brings the worker's answers to their calls, and sends it what waits. Returns whether the connection lets others run
    /// before it writes.
    pub(crate) fn on_answers(
        &mut self,
        id: ConnectionId,
        answers: impl Iterator<Item = Response>,
        now: Instant,
    ) -> Result<bool, ProtocolViolation> {
        let Some(connection) = self.connections.get(id).filter(|it| !it.is_closed()) else {
            // The pool cut its calls off, so that nobody waits for these any more.
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
        Ok(connection.is_some_and(|it| it.batches.may_wait(it.in_flight)))
    }

    /// Returns whether the call ran beside others.
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
        let (sent, abandoned) = match call.state {
            CallState::OnWorker {
                connection: owner,
                sent,
                abandoned,
            } if owner == id => (sent, abandoned),
            _ => return Err(unknown()),
        };
        let concurrent = call.concurrent;
        self.counters.answered += 1;
        connection.on_answer(concurrent);
        if connection.attributes() {
            self.actions.attribute.push((id, Attribution::Answered));
        }
        if abandoned {
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

    /// Sends the worker what waits, as long as it has room.
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
        // The connection's task itself is the one that refills, or is about to start.
        match connection.send(call_id, method, &mut request, call.concurrent, now) {
            Ok(buffer) if connection.in_order.is_none() => self.keep(buffer),
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

    /// For a connection that has written what it had: swaps what is to be written with `empty`. When there is nothing,
    /// `waker` is woken as soon as there is.
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
        if connection.batches.may_wait(in_flight) {
            return NextWrite::Later;
        }
        if connection.batches.take(empty, waker) {
            return NextWrite::Frames;
        }
        match connection.has_drained() {
            true => NextWrite::Drained,
            false => NextWrite::Nothing { in_flight },
        }
    }

    /// A caller has written what it could. Returns the connection's task, if that is to write the rest.
    pub(crate) fn on_written(&mut self, batch: Batch) -> Option<Waker> {
        let connection = self.connections.get_mut(batch.connection());
        let Some(connection) = connection.filter(|it| !it.is_closed()) else {
            self.actions.discard.extend(batch.into_payloads());
            return None;
        };
        connection.batches.on_written(batch)
    }
}
