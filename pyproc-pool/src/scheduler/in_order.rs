//! Workers from before the hello: they answer in the order of their requests, and read one only when the one before is
//! answered.
//!
//! So an error without an id is the answer to the oldest request that such a worker has. The published `pyproc-worker`
//! 0.1.0 sends one when it cannot write a result or read a request; then it reads nothing more on that connection, and
//! accepts the next. Its other requests had not begun: they are kept until they are answered, and go back to the queue.

use std::{collections::VecDeque, iter, sync::Arc, time::Instant};

use bytes::Bytes;
use pyproc_protocol::{Failure, FrameError, MessageError, SessionError, v2::Response};

use super::{
    ConnectionId, Scheduler,
    actions::Attribution,
    call_table::{CallId, CallState},
    methods::Target,
};
use crate::{
    Error, ProtocolViolation,
    outgoing::{Outgoing, Payload},
};

/// What such a worker has not answered yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct InOrder(VecDeque<Sent>);

#[derive(Debug)]
struct Sent {
    id: CallId,
    target: Target,
    request: Outgoing,
}

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

impl InOrder {
    pub(super) fn into_payloads(self) -> impl Iterator<Item = Bytes> {
        let sent = self.0.into_iter();
        sent.map(|it| it.request.payload.into_bytes())
    }
}

impl Scheduler {
    /// Keeps a request that was sent to a worker that answers in order.
    pub(super) fn keep_sent(
        &mut self,
        on: ConnectionId,
        id: CallId,
        target: Target,
        request: Outgoing,
    ) {
        let connection = self.connections.get_mut(on);
        if let Some(InOrder(sent)) = connection.and_then(|it| it.in_order.as_mut()) {
            sent.push_back(Sent {
                id,
                target,
                request,
            });
        }
    }

    /// The worker has answered a call. If another was due, it does not answer in order after all.
    pub(super) fn on_answered_in_order(&mut self, on: ConnectionId, id: CallId) {
        let connection = self.connections.get_mut(on);
        let Some(InOrder(sent)) = connection.and_then(|it| it.in_order.as_mut()) else {
            return;
        };
        match sent.pop_front() {
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
        let InOrder(sent) = self.connections.get(on)?.in_order.as_ref()?;
        sent.front().map(|it| it.id)
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
        for Sent {
            id,
            target,
            request,
        } in unread.0.into_iter().rev()
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

#[cfg(test)]
mod tests {
    use std::task::{Poll, Waker};

    use pyproc_protocol::{Codec, Peer, v1::Message};

    use super::*;
    use crate::scheduler::{
        Admission, ConnectionConfig, Gone, Limits,
        tests::{CONFIG, current, frames, leave, request, waker},
    };

    const LIMITS: Limits = Limits {
        max_in_flight: 27,
        max_queue: 100,
        max_frame_size: 1000,
    };

    /// A worker from before the hello that answers so fast that it is sent all that it may have.
    fn fast(now: Instant) -> Scheduler {
        fast_with(CONFIG, now)
    }

    fn fast_with(config: ConnectionConfig, now: Instant) -> Scheduler {
        let mut scheduler = Scheduler::new(1, LIMITS);
        scheduler.up(0, &Peer::Legacy, config, now);
        for _ in 0..2 {
            let id = submit(&mut scheduler, now);
            answer(&mut scheduler, id, now);
            let outcome = scheduler.poll_outcome(id, &mut std::task::Context::from_waker(&waker()));
            assert!(matches!(outcome, Poll::Ready(Some(Ok(_)))));
        }
        written(&mut scheduler);
        scheduler
    }

    fn submit(scheduler: &mut Scheduler, now: Instant) -> CallId {
        let request = &mut Some(request(Codec::Json));
        let submitted = scheduler.submit(("m", None), request, Admission::Queue, waker(), now);
        let submitted = submitted.unwrap();
        leave(scheduler, submitted.next);
        submitted.id
    }

    fn answer(scheduler: &mut Scheduler, id: CallId, now: Instant) {
        let answers = iter::once(Response::failure(id.to_wire(), Failure::default()));
        let connection = current(scheduler, 0);
        scheduler.on_answers(connection, answers, now).unwrap();
    }

    fn refused(scheduler: &mut Scheduler, now: Instant) -> Verdict {
        let message = "no JSON".into();
        let violation = SessionError::Refused { message }.into();
        let connection = current(scheduler, 0);
        scheduler.on_violation(connection, violation, now)
    }

    /// The ids of the requests that are to be written.
    fn written(scheduler: &mut Scheduler) -> Vec<u64> {
        let connection = current(scheduler, 0);
        let bytes = frames(scheduler, connection);
        let (mut rest, mut ids) = (&bytes[..], Vec::new());
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (frame, next) = behind.split_at(u32::from_be_bytes(*length) as usize);
            match Message::decode(&frame.to_vec().into()).unwrap() {
                Message::Request(request) => ids.push(request.id),
                other => panic!("{other:?}"),
            }
            rest = next;
        }
        ids
    }

    #[test]
    fn twenty_six_neighbours_are_sent_again_in_their_order_before_what_came_later() {
        let now = Instant::now();
        let mut scheduler = fast(now);
        let calls: Vec<CallId> = (0..30).map(|_| submit(&mut scheduler, now)).collect();
        assert_eq!((scheduler.in_flight(), scheduler.queued()), (27, 3));
        let ids: Vec<u64> = calls.iter().map(|id| id.to_wire()).collect();
        assert_eq!(written(&mut scheduler), ids[..27]);
        assert!(matches!(refused(&mut scheduler, now), Verdict::Reconnect));
        assert_eq!((scheduler.in_flight(), scheduler.queued()), (0, 29));
        assert!(scheduler.connections.ids().is_empty());

        scheduler.up(0, &Peer::Legacy, CONFIG, now);
        let mut sent = written(&mut scheduler);
        for &id in &calls[1..] {
            answer(&mut scheduler, id, now);
            sent.extend(written(&mut scheduler));
        }
        assert_eq!(sent, ids[1..]);
        assert_eq!((scheduler.in_flight(), scheduler.queued()), (0, 0));
    }

    /// What happened to the calls that output is attributed to.
    fn attributed(scheduler: &mut Scheduler) -> Vec<String> {
        let attributions = scheduler.actions().take().attribute;
        let said = attributions.into_iter().map(|(_, it)| match it {
            Attribution::Sent(call) => format!("sent {}", call.function),
            Attribution::Answered => "answered".into(),
            Attribution::Forgotten => "forgotten".into(),
        });
        said.collect()
    }

    #[test]
    fn output_of_a_worker_that_answers_out_of_order_is_attributed_to_no_call() {
        let now = Instant::now();
        let config = ConnectionConfig {
            attributes: true,
            ..CONFIG
        };
        let mut scheduler = fast_with(config, now);
        attributed(&mut scheduler);
        let [first, second] = [0, 1].map(|_| submit(&mut scheduler, now));
        assert_eq!(attributed(&mut scheduler), ["sent m", "sent m"]);
        answer(&mut scheduler, second, now);
        // The first call would be taken for the second.
        assert_eq!(attributed(&mut scheduler), ["answered", "forgotten"]);
        answer(&mut scheduler, first, now);
        submit(&mut scheduler, now);
        assert!(attributed(&mut scheduler).is_empty());
    }

    #[test]
    fn a_call_that_waited_is_attributed_too_and_none_when_the_connection_is_closed() {
        let now = Instant::now();
        let config = ConnectionConfig {
            attributes: true,
            ..CONFIG
        };
        let mut scheduler = Scheduler::new(1, LIMITS);
        submit(&mut scheduler, now);
        let id = scheduler.up(0, &Peer::Legacy, config, now);
        assert_eq!(attributed(&mut scheduler), ["sent m"]);
        scheduler.close(id);
        assert_eq!(attributed(&mut scheduler), ["forgotten"]);
    }

    #[test]
    fn what_a_replaced_worker_has_not_begun_fails_if_no_worker_will_come() {
        let now = Instant::now();
        let mut scheduler = fast(now);
        let replaced = current(&scheduler, 0);
        let [_, second] = [0, 1].map(|_| submit(&mut scheduler, now));
        scheduler.replace(0);
        scheduler.up(0, &Peer::Legacy, CONFIG, now);
        scheduler.gone(0, Gone::ShutDown);
        let message = "no JSON".into();
        let violation = SessionError::Refused { message }.into();
        let verdict = scheduler.on_violation(replaced, violation, now);
        assert!(matches!(verdict, Verdict::Reconnect));
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let outcome = scheduler.poll_outcome(second, &mut cx);
        assert!(matches!(outcome, Poll::Ready(Some(Err(Error::ShutDown)))));
        assert_eq!((scheduler.in_flight(), scheduler.queued()), (0, 0));
    }

    #[test]
    fn memory_of_requests_is_used_again_once_they_are_answered() {
        let now = Instant::now();
        let mut scheduler = fast(now);
        assert_eq!(scheduler.spare.len(), 1);
        let id = submit(&mut scheduler, now);
        assert!(scheduler.spare.is_empty(), "the caller has it");
        answer(&mut scheduler, id, now);
        assert_eq!(scheduler.spare.len(), 1);
    }
}
