//! Which call goes to which worker, and which answer to which call.
//!
//! Everything here is plain data behind one lock, without I/O, clock or runtime. A
//! method that makes progress for somebody returns the wakers to wake once the lock is released.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use pyproc_protocol::{Features, PreparedRequest, Response};

use crate::{
    Error, ProtocolViolation, StartFailure,
    call_table::{Call, CallId, CallState, CallTable, Outcome},
    lane::{Lane, LaneState},
    outbox::Outbox,
};

#[derive(Debug)]
pub(crate) struct Scheduler {
    calls: CallTable,
    /// Calls that wait for a worker, first come, first served. Not empty only while no
    /// worker has room.
    queue: VecDeque<CallId>,
    lanes: Vec<Lane>,
    limits: Limits,
    open: bool,
    /// Memory of requests that waited, for the next ones.
    spare: Vec<Vec<u8>>,
    /// Who waits for the last answer.
    drained: Vec<Waker>,
    counters: Counters,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_in_flight: usize,
    pub(crate) max_queue: usize,
    pub(crate) max_frame_size: usize,
}

/// What the pool has counted since it started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) answered: u64,
    pub(crate) rejected: u64,
    pub(crate) abandoned: u64,
}

/// Each is small: large requests are written from their own memory.
const MOST_SPARE: usize = 64;

/// Whether a call may wait for capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Queue,
    Now,
}

/// What became of a call that its caller gave up.
pub(crate) enum GivenUp {
    Queued,
    OnWorker(usize),
    Answered(Outcome),
}

/// A call that the pool has taken.
pub(crate) struct Submitted {
    pub(crate) id: CallId,
    /// Memory for the next call, if there is some.
    pub(crate) buffer: Option<Vec<u8>>,
    /// The connection's task, when it has to be woken.
    pub(crate) writer: Option<Waker>,
}

impl Scheduler {
    pub(crate) fn new(workers: usize, limits: Limits) -> Self {
        let lane = |_| Lane::new(limits.max_in_flight);
        Self {
            calls: CallTable::default(),
            queue: VecDeque::new(),
            lanes: (0..workers).map(lane).collect(),
            limits,
            open: true,
            spare: Vec::new(),
            drained: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Takes a call: hands it to the least loaded worker, or lets it wait.
    pub(crate) fn submit(
        &mut self,
        request: PreparedRequest,
        admission: Admission,
        now: Instant,
    ) -> Result<Submitted, Error> {
        self.admit(admission)?;
        let Some(worker) = self.free_lane() else {
            let id = self.enter(CallState::Queued(request))?;
            self.queue.push_back(id);
            return Ok(Submitted {
                id,
                buffer: self.spare.pop(),
                writer: None,
            });
        };
        let id = self.enter(CallState::OnWorker {
            worker,
            abandoned: false,
        })?;
        let (buffer, writer) = self.lanes[worker].send(id.to_wire(), request, now);
        Ok(Submitted { id, buffer, writer })
    }

    fn admit(&mut self, admission: Admission) -> Result<(), Error> {
        if !self.open {
            return Err(Error::ShutDown);
        }
        if let Some(error) = self.all_gone() {
            return Err(error);
        }
        let room = match admission {
            Admission::Queue => self.capacity() + self.limits.max_queue,
            Admission::Now => self.ready() * self.limits.max_in_flight,
        };
        if self.in_flight() + self.queue.len() < room {
            return Ok(());
        }
        Err(self.reject())
    }

    fn enter(&mut self, state: CallState) -> Result<CallId, Error> {
        match self.calls.insert(state) {
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

    /// The least loaded worker that may be sent a call, unless others wait already.
    fn free_lane(&self) -> Option<usize> {
        if !self.queue.is_empty() {
            return None;
        }
        (0..self.lanes.len())
            .filter(|&worker| self.lanes[worker].has_room())
            .min_by_key(|&worker| self.lanes[worker].in_flight())
    }

    /// The outcome of a call, once there is one; the call is forgotten then.
    pub(crate) fn poll_outcome(&mut self, id: CallId, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(call) = self.calls.get(id) else {
            // Only a future that is polled after it was ready gets here.
            return Poll::Ready(Err(Error::ShutDown));
        };
        if !matches!(call.state, CallState::Done(_)) {
            match &mut call.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        match self.calls.remove(id).map(|call| call.state) {
            Some(CallState::Done(outcome)) => Poll::Ready(outcome),
            _ => Poll::Ready(Err(Error::ShutDown)),
        }
    }

    /// The caller waits no longer. A call that a worker has stays on the books until the
    /// worker answers or dies, because that capacity is busy.
    ///
    /// An outcome that came in the meantime is handed out after all.
    pub(crate) fn give_up(&mut self, id: CallId, reason: &str, wakers: &mut Vec<Waker>) -> GivenUp {
        let given_up = match self.calls.get(id).map(|call| &mut call.state) {
            Some(CallState::OnWorker { worker, abandoned }) => {
                *abandoned = true;
                let worker = *worker;
                self.counters.abandoned += 1;
                let max = self.limits.max_frame_size;
                wakers.extend(self.lanes[worker].cancel(id.to_wire(), reason, max));
                GivenUp::OnWorker(worker)
            }
            Some(CallState::Queued(_)) => {
                self.counters.abandoned += 1;
                self.leave_queue(id);
                GivenUp::Queued
            }
            _ => match self.calls.remove(id).map(|call| call.state) {
                Some(CallState::Done(outcome)) => GivenUp::Answered(outcome),
                // A call is given up at most once.
                _ => GivenUp::Queued,
            },
        };
        self.wake_if_drained(wakers);
        given_up
    }

    fn leave_queue(&mut self, id: CallId) {
        self.calls.remove(id);
        // Deadlines pass in about the order of arrival, so this one is near the front.
        if let Some(place) = self.queue.iter().position(|queued| *queued == id) {
            self.queue.remove(place);
        }
    }

    /// Brings the worker's answers to their calls, and sends it what waits.
    pub(crate) fn on_answers(
        &mut self,
        worker: usize,
        responses: &mut Vec<Response>,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), ProtocolViolation> {
        if !self.lanes[worker].is_up() {
            // The pool cut its calls off, so that nobody waits for these any more.
            responses.clear();
            return Ok(());
        }
        let answers = responses.len();
        for response in responses.drain(..) {
            wakers.extend(self.on_answer(worker, response)?);
        }
        self.counters.answered += answers as u64;
        self.lanes[worker].on_answers(answers, now);
        self.refill(worker, now);
        self.wake_if_drained(wakers);
        Ok(())
    }

    fn on_answer(
        &mut self,
        worker: usize,
        response: Response,
    ) -> Result<Option<Waker>, ProtocolViolation> {
        let id = CallId::from_wire(response.id);
        let unknown = ProtocolViolation::UnknownId { id: response.id };
        let call = self.calls.get(id).ok_or(unknown)?;
        match call.state {
            CallState::OnWorker {
                worker: owner,
                abandoned,
            } if owner == worker => {
                self.lanes[worker].on_answer();
                if abandoned {
                    self.calls.remove(id);
                    return Ok(None);
                }
                call.state = CallState::Done(Ok((worker, response)));
                Ok(call.waker.take())
            }
            _ => Err(ProtocolViolation::UnknownId { id: response.id }),
        }
    }

    fn refill(&mut self, worker: usize, now: Instant) {
        while self.lanes[worker].has_room() {
            let Some(id) = self.queue.pop_front() else {
                return;
            };
            let Some(call) = self.calls.get(id) else {
                continue;
            };
            let on_worker = CallState::OnWorker {
                worker,
                abandoned: false,
            };
            if let CallState::Queued(request) = std::mem::replace(&mut call.state, on_worker) {
                // The connection's task itself is the one that refills, or is about to start.
                let (buffer, _writer) = self.lanes[worker].send(id.to_wire(), request, now);
                self.keep(buffer);
            }
        }
    }

    fn keep(&mut self, buffer: Option<Vec<u8>>) {
        let room = self.spare.len() < MOST_SPARE;
        self.spare.extend(buffer.filter(|_| room));
    }

    /// See [`Lane::take_outbox`].
    pub(crate) fn take_outbox(&mut self, worker: usize, empty: &mut Outbox, waker: &Waker) -> bool {
        self.lanes[worker].take_outbox(empty, waker)
    }

    /// A worker is ready for calls.
    pub(crate) fn lane_up(&mut self, worker: usize, features: Features, now: Instant) {
        self.enter_lane(worker, LaneState::Up(features));
        self.refill(worker, now);
    }

    /// The worker gets no further calls. Those that it has stay until
    /// [`fail_lane`](Self::fail_lane).
    pub(crate) fn lane_down(&mut self, worker: usize) {
        self.enter_lane(worker, LaneState::Down);
    }

    /// No worker will take this place again. When it was the last, all that waits fails.
    pub(crate) fn lane_gone(
        &mut self,
        worker: usize,
        failure: Option<Arc<StartFailure>>,
    ) -> Vec<Waker> {
        if matches!(self.lanes[worker].state(), LaneState::Gone(_)) {
            return Vec::new();
        }
        self.enter_lane(worker, LaneState::Gone(failure));
        let mut wakers = self.fail_lane(worker, || Error::ShutDown);
        while let Some(error) = self.all_gone() {
            let Some(id) = self.queue.pop_front() else {
                break;
            };
            wakers.extend(self.fail(id, error));
        }
        self.wake_if_drained(&mut wakers);
        wakers
    }

    fn enter_lane(&mut self, worker: usize, state: LaneState) {
        self.lanes[worker].enter(state, self.limits.max_in_flight);
    }

    /// Every call that the worker had fails.
    pub(crate) fn fail_lane(&mut self, worker: usize, error: impl Fn() -> Error) -> Vec<Waker> {
        self.lanes[worker].forget_calls();
        let is_on_it = |(id, call): (CallId, &Call)| match call.state {
            CallState::OnWorker { worker: on, .. } if on == worker => Some(id),
            _ => None,
        };
        let ids: Vec<CallId> = self.calls.ids().filter_map(is_on_it).collect();
        let mut wakers = Vec::new();
        for id in ids {
            wakers.extend(self.fail(id, error()));
        }
        self.wake_if_drained(&mut wakers);
        wakers
    }

    fn fail(&mut self, id: CallId, error: Error) -> Option<Waker> {
        let call = self.calls.get(id)?;
        if let CallState::OnWorker {
            abandoned: true, ..
        } = call.state
        {
            self.calls.remove(id);
            return None;
        }
        call.state = CallState::Done(Err(error));
        call.waker.take()
    }

    /// New calls are refused.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Every call that has no outcome yet fails with [`Error::ShutDown`]. What workers answer
    /// from now on reaches nobody.
    pub(crate) fn cut_off(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(id) = self.queue.pop_front() {
            wakers.extend(self.fail(id, Error::ShutDown));
        }
        for worker in 0..self.lanes.len() {
            if self.lanes[worker].is_up() {
                self.lane_down(worker);
            }
            wakers.extend(self.fail_lane(worker, || Error::ShutDown));
        }
        wakers
    }

    /// Ready when no caller waits for an answer any more.
    pub(crate) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unanswered() == 0 {
            return Poll::Ready(());
        }
        if !self.drained.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.drained.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake_if_drained(&mut self, wakers: &mut Vec<Waker>) {
        // Nobody waits for this before a shutdown, so that counting costs nothing before.
        if !self.drained.is_empty() && self.unanswered() == 0 {
            wakers.append(&mut self.drained);
        }
    }

    /// Calls whose callers still wait for a worker to answer.
    pub(crate) fn unanswered(&self) -> usize {
        let waits = |state: &CallState| {
            matches!(
                state,
                CallState::Queued(_)
                    | CallState::OnWorker {
                        abandoned: false,
                        ..
                    }
            )
        };
        self.calls
            .ids()
            .filter(|(_, call)| waits(&call.state))
            .count()
    }

    /// Why no worker will ever be ready, if so.
    fn all_gone(&self) -> Option<Error> {
        let mut last = None;
        for lane in &self.lanes {
            match lane.state() {
                LaneState::Gone(failure) => last = failure.as_ref().or(last),
                _ => return None,
            }
        }
        Some(match last {
            Some(failure) => Error::NoWorkers(Arc::clone(failure)),
            None => Error::ShutDown,
        })
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.lanes.iter().map(Lane::in_flight).sum()
    }

    pub(crate) fn in_flight_of(&self, worker: usize) -> usize {
        self.lanes[worker].in_flight()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.lanes.len() * self.limits.max_in_flight
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    fn ready(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.is_up()).count()
    }
}

#[cfg(test)]
mod tests;
