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

use pyproc_protocol::{Cancellation, Features, PreparedRequest, Response};

use crate::{
    Error, ProtocolViolation, StartFailure,
    call_table::{Call, CallId, CallState, CallTable, Outcome},
    depth::Depth,
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
    drained: Option<Waker>,
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

/// The way to one worker.
#[derive(Debug)]
struct Lane {
    state: LaneState,
    /// Calls that the worker has; as many entries of the table are `OnWorker` here.
    in_flight: usize,
    depth: Depth,
    /// Frames that wait to be written.
    outbox: Vec<u8>,
    /// The connection's task, while it sleeps for want of frames.
    writer: Option<Waker>,
}

#[derive(Debug)]
enum LaneState {
    /// No worker at present; one is on its way.
    Down,
    Up(Features),
    /// Not tried again.
    GivenUp(Arc<StartFailure>),
}

/// Whether a call may wait for capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Queue,
    Now,
}

/// A call that the pool has taken.
pub(crate) struct Submitted {
    pub(crate) id: CallId,
    /// The request's memory, when it is free for the next call.
    pub(crate) buffer: Option<Vec<u8>>,
    /// The connection's task, when it has to be woken.
    pub(crate) writer: Option<Waker>,
}

impl Scheduler {
    pub(crate) fn new(workers: usize, limits: Limits) -> Self {
        let lane = |_| Lane {
            state: LaneState::Down,
            in_flight: 0,
            depth: Depth::new(limits.max_in_flight),
            outbox: Vec::new(),
            writer: None,
        };
        Self {
            calls: CallTable::default(),
            queue: VecDeque::new(),
            lanes: (0..workers).map(lane).collect(),
            limits,
            open: true,
            drained: None,
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
                buffer: None,
                writer: None,
            });
        };
        let id = self.enter(CallState::OnWorker {
            worker,
            abandoned: false,
        })?;
        let writer = self.lanes[worker].send(id, &request, now);
        Ok(Submitted {
            id,
            buffer: Some(request.into_buffer()),
            writer,
        })
    }

    fn admit(&mut self, admission: Admission) -> Result<(), Error> {
        if !self.open {
            return Err(Error::ShutDown);
        }
        if let Some(failure) = self.all_given_up() {
            return Err(Error::NoWorkers(failure));
        }
        let (in_flight, queued) = (self.in_flight(), self.queue.len());
        let room = match admission {
            Admission::Queue => self.capacity() + self.limits.max_queue,
            Admission::Now => self.ready_lanes() * self.limits.max_in_flight,
        };
        if in_flight + queued < room {
            return Ok(());
        }
        self.counters.rejected += 1;
        Err(Error::Overloaded { in_flight, queued })
    }

    fn enter(&mut self, state: CallState) -> Result<CallId, Error> {
        let full = Error::Overloaded {
            in_flight: self.in_flight(),
            queued: self.queue.len(),
        };
        self.calls.insert(state).ok_or(full)
    }

    /// The least loaded worker that may be sent a call, unless others wait already.
    fn free_lane(&self) -> Option<usize> {
        if !self.queue.is_empty() {
            return None;
        }
        (0..self.lanes.len())
            .filter(|&worker| self.lanes[worker].has_room())
            .min_by_key(|&worker| self.lanes[worker].in_flight)
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

    /// The worker that has the call, if any.
    pub(crate) fn worker_of(&mut self, id: CallId) -> Option<usize> {
        match self.calls.get(id)?.state {
            CallState::OnWorker { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// The caller is gone. A call that a worker has stays on the books until the worker
    /// answers or dies, because that capacity is busy.
    pub(crate) fn abandon(&mut self, id: CallId, reason: &str) -> Option<Waker> {
        let call = self.calls.get(id)?;
        call.waker = None;
        let waker = match &mut call.state {
            CallState::OnWorker { worker, abandoned } => {
                *abandoned = true;
                let worker = *worker;
                self.counters.abandoned += 1;
                self.lanes[worker].cancel(id, reason, self.limits.max_frame_size)
            }
            CallState::Queued(_) => {
                self.counters.abandoned += 1;
                // Deadlines pass in about the order of arrival, so this one is near the front.
                if let Some(place) = self.queue.iter().position(|queued| *queued == id) {
                    self.queue.remove(place);
                }
                self.calls.remove(id);
                None
            }
            CallState::Done(_) => {
                self.calls.remove(id);
                None
            }
        };
        waker.or_else(|| self.drained_waker())
    }

    /// Brings the worker's answers to their calls, and sends it what waits.
    pub(crate) fn on_answers(
        &mut self,
        worker: usize,
        responses: &mut Vec<Response>,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), ProtocolViolation> {
        let answers = responses.len();
        for response in responses.drain(..) {
            wakers.extend(self.on_answer(worker, response)?);
        }
        self.counters.answered += answers as u64;
        self.lanes[worker].depth.on_answers(answers as u32, now);
        self.refill(worker, now);
        wakers.extend(self.drained_waker());
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
                self.lanes[worker].in_flight -= 1;
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
                let _writer = self.lanes[worker].send(id, &request, now);
            }
        }
    }

    /// Moves what is to be written to `buffer`, which must be empty. When there is
    /// nothing, the task is woken as soon as there is.
    pub(crate) fn take_outbox(
        &mut self,
        worker: usize,
        buffer: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> bool {
        let lane = &mut self.lanes[worker];
        if lane.outbox.is_empty() {
            lane.writer = Some(cx.waker().clone());
            return false;
        }
        lane.writer = None;
        std::mem::swap(&mut lane.outbox, buffer);
        true
    }

    /// A worker is ready for calls.
    pub(crate) fn lane_up(&mut self, worker: usize, features: Features, now: Instant) {
        let lane = &mut self.lanes[worker];
        lane.state = LaneState::Up(features);
        lane.depth = Depth::new(self.limits.max_in_flight);
        self.refill(worker, now);
    }

    /// The worker gets no further calls. Those that it has stay until
    /// [`fail_lane`](Self::fail_lane).
    pub(crate) fn lane_down(&mut self, worker: usize) {
        let lane = &mut self.lanes[worker];
        lane.state = LaneState::Down;
        lane.outbox = Vec::new();
        lane.writer = None;
    }

    /// Every call that the worker had fails.
    pub(crate) fn fail_lane(&mut self, worker: usize, error: impl Fn() -> Error) -> Vec<Waker> {
        self.lanes[worker].in_flight = 0;
        let on_it = |state: &CallState| matches!(state, CallState::OnWorker { worker: w, .. } if *w == worker);
        self.fail_where(on_it, error)
    }

    /// The worker will not be started again. When it was the last, all that waits fails.
    pub(crate) fn give_up_lane(&mut self, worker: usize, failure: Arc<StartFailure>) -> Vec<Waker> {
        self.lanes[worker].state = LaneState::GivenUp(failure);
        match self.all_given_up() {
            Some(last) => self.fail_queue(|| Error::NoWorkers(Arc::clone(&last))),
            None => Vec::new(),
        }
    }

    /// New calls are refused.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Every call that has no outcome yet fails with [`Error::ShutDown`].
    pub(crate) fn fail_all(&mut self) -> Vec<Waker> {
        let mut wakers = self.fail_queue(|| Error::ShutDown);
        for worker in 0..self.lanes.len() {
            wakers.extend(self.fail_lane(worker, || Error::ShutDown));
        }
        wakers.extend(self.drained.take());
        wakers
    }

    fn fail_queue(&mut self, error: impl Fn() -> Error) -> Vec<Waker> {
        self.queue.clear();
        self.fail_where(|state| matches!(state, CallState::Queued(_)), error)
    }

    fn fail_where(
        &mut self,
        condition: impl Fn(&CallState) -> bool,
        error: impl Fn() -> Error,
    ) -> Vec<Waker> {
        let failing = |(id, call): (CallId, &Call)| condition(&call.state).then_some(id);
        let ids: Vec<CallId> = self.calls.ids().filter_map(failing).collect();
        let mut wakers: Vec<Waker> = ids
            .into_iter()
            .filter_map(|id| {
                let call = self.calls.get(id)?;
                if matches!(
                    call.state,
                    CallState::OnWorker {
                        abandoned: true,
                        ..
                    }
                ) {
                    self.calls.remove(id);
                    return None;
                }
                call.state = CallState::Done(Err(error()));
                call.waker.take()
            })
            .collect();
        wakers.extend(self.drained_waker());
        wakers
    }

    /// Ready when no caller waits for an answer any more.
    pub(crate) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unanswered() == 0 {
            return Poll::Ready(());
        }
        self.drained = Some(cx.waker().clone());
        Poll::Pending
    }

    fn drained_waker(&mut self) -> Option<Waker> {
        // Nobody waits for this before a shutdown, so that counting costs nothing before.
        self.drained.as_ref()?;
        if self.unanswered() == 0 {
            self.drained.take()
        } else {
            None
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

    fn all_given_up(&self) -> Option<Arc<StartFailure>> {
        let mut last = None;
        for lane in &self.lanes {
            match &lane.state {
                LaneState::GivenUp(failure) => last = Some(failure),
                _ => return None,
            }
        }
        last.cloned()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.in_flight).sum()
    }

    pub(crate) fn in_flight_of(&self, worker: usize) -> usize {
        self.lanes[worker].in_flight
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

    fn ready_lanes(&self) -> usize {
        let up = |lane: &&Lane| matches!(lane.state, LaneState::Up(_));
        self.lanes.iter().filter(up).count()
    }
}

impl Lane {
    fn has_room(&self) -> bool {
        matches!(self.state, LaneState::Up(_)) && self.in_flight < self.depth.get()
    }

    fn send(&mut self, id: CallId, request: &PreparedRequest, now: Instant) -> Option<Waker> {
        if self.in_flight == 0 {
            self.depth.on_busy(now);
        }
        self.in_flight += 1;
        request.write(id.to_wire(), &mut self.outbox);
        self.writer.take()
    }

    fn cancel(&mut self, id: CallId, reason: &str, max_frame_size: usize) -> Option<Waker> {
        let LaneState::Up(Features { cancel: true, .. }) = self.state else {
            return None;
        };
        let cancellation = Cancellation {
            id: id.to_wire(),
            reason: reason.into(),
        };
        // It is a courtesy: a maximum frame size too small for it does no harm.
        cancellation.encode(max_frame_size, &mut self.outbox).ok()?;
        self.writer.take()
    }
}
