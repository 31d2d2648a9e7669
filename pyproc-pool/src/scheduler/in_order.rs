//! Workers from before the hello: they answer in the order of their requests, and read one only when the one before is
//! answered.
//!
//! So an error without an id is the answer to the oldest request that such a worker has. The published `pyproc-worker`
//! 0.1.0 sends one when it cannot write a result or read a request; then it reads nothing more on that connection, and
//! accepts the next. Its other requests had not begun: they are kept until they are answered, and go back to the queue.

use std::{collections::VecDeque, iter, sync::Arc, task::Waker, time::Instant};

use bytes::Bytes;
use pyproc_protocol::{
    FrameError, MessageError, SessionError,
    v2::{Answer, Failure},
};

use super::Scheduler;
use crate::{
    Error, ProtocolViolation,
    outgoing::{Outgoing, Payload},
    scheduler::call_table::{CallId, CallState},
    scheduler::methods::Target,
};

/// What such a worker has not answered yet, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct InOrder(VecDeque<Sent>);

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
    pub(crate) fn into_payloads(self) -> impl Iterator<Item = Bytes> {
        let sent = self.0.into_iter();
        sent.map(|it| it.request.payload.into_bytes())
    }
}

impl Scheduler {
    /// Keeps a request that was sent to a worker that answers in order.
    pub(super) fn keep_sent(&mut self, lane: usize, id: CallId, target: Target, request: Outgoing) {
        if let Some(InOrder(sent)) = &mut self.lanes[lane].in_order {
            sent.push_back(Sent {
                id,
                target,
                request,
            });
        }
    }

    /// The worker has answered a call. If another was due, it does not answer in order after all.
    pub(super) fn on_answered_in_order(&mut self, lane: usize, id: CallId) {
        let Some(InOrder(sent)) = &mut self.lanes[lane].in_order else {
            return;
        };
        match sent.pop_front() {
            Some(answered) if answered.id == id => self.recycle(answered.request.payload),
            out_of_order => {
                let others = self.lanes[lane].leave_order().unwrap_or_default();
                let payload = out_of_order.map(|it| it.request.payload.into_bytes());
                self.spent.extend(others.into_payloads().chain(payload));
            }
        }
    }

    fn recycle(&mut self, payload: Payload) {
        match payload {
            Payload::Buffer(buffer) => self.keep(Some(buffer)),
            Payload::Shared(bytes) => self.spent.push(bytes),
        }
    }

    /// The worker did something wrong, after all that it answered before.
    #[cold]
    pub(crate) fn on_violation(
        &mut self,
        lane: usize,
        violation: ProtocolViolation,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) -> Verdict {
        let Some(oldest) = self.oldest(lane) else {
            return Verdict::Broken(violation);
        };
        match violation {
            ProtocolViolation::Session(SessionError::Refused { message }) => {
                let failure = Failure {
                    message,
                    ..Failure::default()
                };
                let answer = Answer::failure(oldest.to_wire(), failure);
                if let Err(violation) = self.on_answers(lane, iter::once(answer), now, wakers) {
                    return Verdict::Broken(violation);
                }
                self.requeue(lane, now, wakers);
                Verdict::Reconnect
            }
            // It knows no limit. What is still to come of the result is not read, so the connection is of no more use.
            ProtocolViolation::Session(SessionError::Frame(FrameError::TooLarge { .. })) => {
                self.fail_oldest(lane, oldest, violation, now, wakers);
                self.requeue(lane, now, wakers);
                Verdict::Reconnect
            }
            // It writes numbers that are no JSON, such as NaN, and does not know.
            ProtocolViolation::Session(SessionError::Message(MessageError::Json { .. })) => {
                self.fail_oldest(lane, oldest, violation, now, wakers);
                self.refill(lane, now, wakers);
                self.wake_if_drained(wakers);
                Verdict::GoOn
            }
            violation => Verdict::Broken(violation),
        }
    }

    /// The call that a worker that answers in order is about to answer.
    fn oldest(&self, lane: usize) -> Option<CallId> {
        let InOrder(sent) = self.lanes[lane].in_order.as_ref()?;
        sent.front().map(|it| it.id)
    }

    /// What the worker answered cannot be read.
    fn fail_oldest(
        &mut self,
        lane: usize,
        id: CallId,
        violation: ProtocolViolation,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) {
        let concurrent = self.calls.get(id).is_some_and(|call| call.concurrent);
        self.lanes[lane].on_answer(concurrent);
        self.lanes[lane].on_answers(usize::from(!concurrent), now);
        self.on_answered_in_order(lane, id);
        let error = Error::Protocol {
            worker: self.slot(lane),
            source: Arc::new(violation),
        };
        wakers.extend(self.fail(id, error));
    }

    /// The worker reads nothing more on this connection: what it has not begun waits again, before all others.
    fn requeue(&mut self, lane: usize, now: Instant, wakers: &mut Vec<Waker>) {
        let unread = self.lanes[lane].leave_order().unwrap_or_default();
        self.lane_down(lane);
        self.lanes[lane].forget_calls();
        for Sent {
            id,
            target,
            request,
        } in unread.0.into_iter().rev()
        {
            match self.calls.get(id) {
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
        self.refill_others(now, wakers);
        self.wake_if_drained(wakers);
    }

    /// Other workers may have room for what waits again.
    fn refill_others(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        for lane in 0..self.lanes.len() {
            let before = self.lanes[lane].in_flight();
            self.refill(lane, now, wakers);
            if self.lanes[lane].in_flight() > before {
                wakers.extend(self.lanes[lane].sending().wake());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::pipe, task::Poll};

    use pyproc_protocol::{Message, Peer, v2::Codec};

    use super::*;
    use crate::{
        scheduler::batches::Wire,
        scheduler::outbox::Outbox,
        scheduler::{
            Admission, Limits,
            tests::{request, waker},
        },
        worker::Origin,
    };

    const LIMITS: Limits = Limits {
        max_in_flight: 27,
        max_queue: 100,
        max_frame_size: 1000,
    };

    /// A worker from before the hello that answers so fast that it is sent all that it may have.
    fn fast(now: Instant) -> Scheduler {
        fast_with(Wire::default(), now)
    }

    fn fast_with(wire: Wire, now: Instant) -> Scheduler {
        let mut scheduler = Scheduler::new(1, LIMITS);
        scheduler.lane_up(0, &Peer::Plain, wire, now);
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
        submitted.map(|it| it.id).unwrap()
    }

    fn answer(scheduler: &mut Scheduler, id: CallId, now: Instant) {
        let answers = iter::once(Answer::failure(id.to_wire(), Failure::default()));
        scheduler
            .on_answers(0, answers, now, &mut Vec::new())
            .unwrap();
    }

    fn refused(scheduler: &mut Scheduler, now: Instant) -> Verdict {
        let message = "no JSON".into();
        let violation = SessionError::Refused { message }.into();
        scheduler.on_violation(0, violation, now, &mut Vec::new())
    }

    /// The ids of the requests that are to be written.
    fn written(scheduler: &mut Scheduler) -> Vec<u64> {
        let mut outbox = Outbox::default();
        scheduler.take_outbox(0, &mut outbox, &waker());
        let (slices, count) = outbox.slices();
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
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
        assert!(!scheduler.lanes[0].is_up());

        scheduler.lane_up(0, &Peer::Plain, Wire::default(), now);
        let mut sent = written(&mut scheduler);
        for &id in &calls[1..] {
            answer(&mut scheduler, id, now);
            sent.extend(written(&mut scheduler));
        }
        assert_eq!(sent, ids[1..]);
        assert_eq!((scheduler.in_flight(), scheduler.queued()), (0, 0));
    }

    #[test]
    fn output_of_a_worker_that_answers_out_of_order_is_attributed_to_no_call() {
        let now = Instant::now();
        let pipe = || Arc::new(pipe().unwrap().0);
        let origin = Arc::new(Origin::new(pipe(), pipe()));
        let wire = Wire {
            origin: Some(Arc::clone(&origin)),
            ..Wire::default()
        };
        let mut scheduler = fast_with(wire, now);
        let [first, second] = [0, 1].map(|_| submit(&mut scheduler, now));
        assert_eq!(Arc::strong_count(&origin), 2);
        answer(&mut scheduler, second, now);
        assert_eq!(
            Arc::strong_count(&origin),
            1,
            "the first call would be taken for the second"
        );
        answer(&mut scheduler, first, now);
        assert_eq!(scheduler.in_flight(), 0);
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
