//! Which call goes to which worker, and which answer to which call.
//!
//! Everything here is plain data behind one lock, without I/O, clock or runtime. A
//! method that makes progress for somebody returns the wakers to wake once the lock is released.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use pyproc_protocol::{EncodeError, v2::Answer};

use crate::{
    Error, ProtocolViolation,
    outgoing::Outgoing,
    scheduler::batches::{Batch, Next},
    scheduler::call_table::{Answered, Call, CallId, CallState, CallTable, Outcome},
    scheduler::connection::{Gone, Lane, LaneState},
    scheduler::methods::{MethodId, Methods},
    scheduler::outbox::Outbox,
    scheduler::queue::Queue,
};

pub(crate) mod batches;
pub(crate) mod call_table;
pub(crate) mod connection;
mod depth;
mod in_order;
pub(crate) mod methods;
pub(crate) mod outbox;
mod queue;
mod workers;

pub(crate) use in_order::{InOrder, Verdict};

#[derive(Debug)]
pub(crate) struct Scheduler {
    calls: CallTable,
    /// Calls that wait for a worker. Not empty only while no worker has room.
    queue: Queue,
    methods: Methods,
    /// The ways to the workers, by slot, and as the last one that to a worker which was replaced.
    lanes: Vec<Lane>,
    /// The slot of the worker that was replaced.
    replaced: usize,
    limits: Limits,
    open: bool,
    /// Memory of requests that waited, for the next ones.
    spare: Vec<Vec<u8>>,
    /// Payloads that nobody needs any more, to be dropped without the lock.
    spent: Vec<Bytes>,
    /// Who waits for the last answer.
    drained: Vec<Waker>,
    /// No call that is waited for has an earlier one.
    next_deadline: Option<Instant>,
    keeps_deadlines: bool,
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
    /// The call, whose request is to be dropped without the lock.
    Queued(#[expect(dead_code, reason = "it is there to be dropped")] Option<Call>),
    OnWorker(usize),
    Answered(Outcome),
}

/// A call that the pool has taken.
pub(crate) struct Submitted {
    pub(crate) id: CallId,
    /// Memory for the next call, if there is some.
    pub(crate) buffer: Option<Vec<u8>>,
    /// Who is to write it.
    pub(crate) next: Next,
    /// Its deadline is the earliest, and whoever keeps deadlines is to be told.
    pub(crate) is_urgent: bool,
}

impl Scheduler {
    pub(crate) fn new(workers: usize, limits: Limits) -> Self {
        let lane = |_| Lane::new(limits);
        Self {
            calls: CallTable::default(),
            queue: Queue::default(),
            methods: Methods::default(),
            lanes: (0..=workers).map(lane).collect(),
            replaced: 0,
            limits,
            open: true,
            spare: Vec::new(),
            spent: Vec::new(),
            drained: Vec::new(),
            next_deadline: None,
            keeps_deadlines: true,
            counters: Counters::default(),
        }
    }

    #[inline]
    pub(crate) fn has_spent(&self) -> bool {
        !self.spent.is_empty()
    }

    /// What is to be dropped as soon as the lock is released.
    #[cold]
    pub(crate) fn take_spent(&mut self) -> Box<[Bytes]> {
        mem::take(&mut self.spent).into()
    }

    /// The function's number, if it has one.
    pub(crate) fn find(&self, method: &str) -> Option<MethodId> {
        self.methods.find(method)
    }

    /// Whether a worker has listed the function or answered it with success: its name is not one that a caller made up.
    pub(crate) fn is_confirmed(&self, method: Option<MethodId>) -> bool {
        self.methods.is_confirmed(method)
    }

    /// See [`Methods::confirm`].
    pub(crate) fn confirm(&mut self, method: &str) -> bool {
        self.methods.confirm(method)
    }

    /// Takes a call of a function of this name and number: hands it to the least loaded worker, or lets it wait. There
    /// is a waker from the beginning, so that its caller need not ask before it is woken. The payload is taken out of
    /// the request unless it is refused: dropping it may run the user's code, which must not happen here.
    pub(crate) fn submit(
        &mut self,
        (method, id): (&str, Option<MethodId>),
        request: &mut Option<Outgoing>,
        admission: Admission,
        waker: Waker,
        now: Instant,
    ) -> Result<Submitted, Error> {
        self.admit(admission)?;
        let concurrent = self.methods.is_concurrent(id);
        let Some(worker) = self.free_lane(concurrent) else {
            return self.wait_in_queue(method, request, concurrent, waker);
        };
        let Some(outgoing) = request else {
            // A call is submitted once.
            return Err(Error::ShutDown);
        };
        let deadline = Some(outgoing.envelope.deadline);
        let on_worker = CallState::on_worker(worker, now);
        let call = self.enter(on_worker, concurrent, waker, deadline)?;
        let sent = self.lanes[worker].send(call, (method, id), outgoing, concurrent, now);
        let mut buffer = sent.map_err(|source| {
            self.calls.remove(call);
            cannot_send(method, source)
        })?;
        if self.lanes[worker].is_in_order()
            && let Some(request) = request.take()
        {
            let target = self.methods.hear(method);
            self.keep_sent(worker, call, target, request);
            buffer = self.spare.pop();
        }
        Ok(Submitted {
            id: call,
            buffer,
            next: self.lanes[worker].next(),
            // Not of a call that is refused, as nobody would be told.
            is_urgent: self.heed(deadline),
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
            // A call is submitted once.
            return Err(Error::ShutDown);
        };
        let target = self.methods.hear(method);
        let deadline = Some(request.envelope.deadline);
        let queued = CallState::Queued(target, request);
        let id = self.enter(queued, concurrent, waker, deadline)?;
        self.queue.push(id, concurrent);
        Ok(Submitted {
            id,
            buffer: self.spare.pop(),
            next: Next::Settled,
            is_urgent: self.heed(deadline),
        })
    }

    fn admit(&mut self, admission: Admission) -> Result<(), Error> {
        if !self.open {
            return Err(Error::ShutDown);
        }
        if let Some(error) = self.all_gone() {
            return Err(error);
        }
        let (mut room, mut taken) = (0, self.queue.len());
        if admission == Admission::Queue {
            room = self.limits.max_queue;
        }
        // What a worker that was replaced still has is no load of the one that has its slot.
        for lane in &self.lanes[..self.workers()] {
            if admission == Admission::Queue || lane.is_open() {
                room += self.limits.max_in_flight;
                taken += lane.in_flight();
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
        deadline: Option<Instant>,
    ) -> Result<CallId, Error> {
        let call = Call {
            state,
            concurrent,
            waker: Some(waker),
            deadline,
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

    /// The least loaded worker that may be sent a call, unless others wait already.
    fn free_lane(&self, concurrent: bool) -> Option<usize> {
        if !self.queue.is_empty(concurrent) {
            return None;
        }
        (0..self.lanes.len())
            .filter(|&worker| self.lanes[worker].has_room(concurrent))
            .min_by_key(|&worker| self.lanes[worker].load(concurrent))
    }

    /// The outcome of a call, once there is one; the call is forgotten then. `None` when its deadline
    /// has passed before.
    pub(crate) fn poll_outcome(
        &mut self,
        id: CallId,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Outcome>> {
        let Some(call) = self.calls.get(id) else {
            // Only a future that is polled after it was ready gets here.
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

    /// Takes a new call's deadline into account: whether it is the earliest of all.
    fn heed(&mut self, deadline: Option<Instant>) -> bool {
        let is_earlier = |it| self.next_deadline.is_none_or(|next| it < next);
        let is_earliest = deadline.is_some_and(is_earlier);
        if is_earliest {
            self.next_deadline = deadline;
        }
        is_earliest
    }

    /// When the next look at the calls is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Callers whose deadlines have passed by `now` are to be woken.
    pub(crate) fn pass_deadlines(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        self.next_deadline = None;
        for call in self.calls.calls_mut() {
            let Some(deadline) = call.deadline.filter(|_| call.state.is_awaited()) else {
                continue;
            };
            if deadline <= now {
                call.deadline = None;
                wakers.extend(call.waker.take());
            } else if self.next_deadline.is_none_or(|next| deadline < next) {
                self.next_deadline = Some(deadline);
            }
        }
    }

    /// Whether anybody may still make calls.
    pub(crate) fn keeps_deadlines(&self) -> bool {
        self.keeps_deadlines
    }

    /// Nobody makes calls any more.
    pub(crate) fn forget_deadlines(&mut self) {
        self.keeps_deadlines = false;
    }

    /// The caller waits no longer. A call that a worker has stays on the books until the
    /// worker answers or dies, because that capacity is busy.
    ///
    /// An outcome that came in the meantime is handed out after all.
    pub(crate) fn give_up(&mut self, id: CallId, reason: &str, wakers: &mut Vec<Waker>) -> GivenUp {
        let given_up = match self.calls.get(id).map(|call| &mut call.state) {
            Some(CallState::OnWorker {
                worker, abandoned, ..
            }) => {
                *abandoned = true;
                let lane = *worker;
                self.counters.abandoned += 1;
                wakers.extend(self.lanes[lane].cancel(id, reason));
                GivenUp::OnWorker(self.slot(lane))
            }
            Some(CallState::Queued(..)) => {
                self.counters.abandoned += 1;
                GivenUp::Queued(self.leave_queue(id))
            }
            _ => match self.calls.remove(id).map(|call| call.state) {
                Some(CallState::Done(outcome)) => GivenUp::Answered(outcome),
                // A call is given up at most once.
                _ => GivenUp::Queued(None),
            },
        };
        self.wake_if_drained(wakers);
        given_up
    }

    fn leave_queue(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(id)?;
        self.queue.remove(id, call.concurrent);
        Some(call)
    }

    /// Brings the worker's answers to their calls, and sends it what waits.
    pub(crate) fn on_answers(
        &mut self,
        worker: usize,
        answers: impl Iterator<Item = Answer>,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), ProtocolViolation> {
        if !self.lanes[worker].is_up() {
            // The pool cut its calls off, so that nobody waits for these any more.
            return Ok(());
        }
        let in_order = self.lanes[worker].is_in_order();
        let mut plain = 0;
        for answer in answers {
            let id = CallId::from_wire(answer.id);
            plain += usize::from(!self.on_answer(worker, answer, now, wakers)?);
            if in_order {
                self.on_answered_in_order(worker, id);
            }
        }
        self.lanes[worker].on_answers(plain, now);
        self.lanes[worker].on_woken(wakers.len());
        self.refill(worker, now, wakers);
        self.wake_if_drained(wakers);
        Ok(())
    }

    /// Returns whether the call ran beside others.
    fn on_answer(
        &mut self,
        worker: usize,
        answer: Answer,
        now: Instant,
        wakers: &mut Vec<Waker>,
    ) -> Result<bool, ProtocolViolation> {
        let wire_id = answer.id;
        let unknown = || ProtocolViolation::UnknownId { id: wire_id };
        let id = CallId::from_wire(wire_id);
        let slot = self.slot(worker);
        let call = self.calls.get(id).ok_or_else(unknown)?;
        let (sent, abandoned) = match call.state {
            CallState::OnWorker {
                worker: owner,
                sent,
                abandoned,
            } if owner == worker => (sent, abandoned),
            _ => return Err(unknown()),
        };
        let concurrent = call.concurrent;
        self.counters.answered += 1;
        self.lanes[worker].on_answer(concurrent);
        if abandoned {
            self.calls.remove(id);
            return Ok(concurrent);
        }
        call.state = CallState::Done(Ok(Answered {
            worker: slot,
            answer,
            sent,
            received: now,
            worker_lists_none: !self.lanes[worker].lists_functions(),
        }));
        wakers.extend(call.waker.take());
        Ok(concurrent)
    }

    /// Sends the worker what waits, as long as it has room.
    fn refill(&mut self, worker: usize, now: Instant, wakers: &mut Vec<Waker>) {
        loop {
            let lane = &self.lanes[worker];
            let (plain, concurrent) = (lane.has_room(false), lane.has_room(true));
            match self.queue.pop(plain, concurrent) {
                Some(id) => self.send_queued(worker, id, now, wakers),
                None => return,
            }
        }
    }

    fn send_queued(&mut self, worker: usize, id: CallId, now: Instant, wakers: &mut Vec<Waker>) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let on_worker = CallState::on_worker(worker, now);
        let CallState::Queued(target, mut request) = mem::replace(&mut call.state, on_worker)
        else {
            return;
        };
        let method = self.methods.resolve(&target);
        match self.lanes[worker].send(id, method, &mut request, call.concurrent, now) {
            // The connection's task itself is the one that refills, or is about to start.
            Ok(_) if self.lanes[worker].is_in_order() => {
                self.keep_sent(worker, id, target, request);
            }
            Ok(buffer) => self.keep(buffer),
            Err(source) => {
                let error = cannot_send(method.0, source);
                self.spent.push(request.payload.into_bytes());
                wakers.extend(self.fail(id, error));
            }
        }
    }

    fn keep(&mut self, buffer: Option<Vec<u8>>) {
        let room = self.spare.len() < MOST_SPARE;
        self.spare.extend(buffer.filter(|_| room));
    }

    /// See [`Lane::may_wait`].
    pub(crate) fn may_wait(&mut self, worker: usize) -> bool {
        self.lanes[worker].may_wait()
    }

    /// See [`Sending::take`].
    pub(crate) fn take_outbox(&mut self, worker: usize, empty: &mut Outbox, waker: &Waker) -> bool {
        self.lanes[worker].sending().take(empty, waker)
    }

    /// A caller has written what it could. Returns the task that is to write the rest.
    pub(crate) fn on_written(&mut self, batch: Batch) -> Option<Waker> {
        let mut lanes = self.lanes.iter_mut().map(Lane::sending);
        // Else the worker is gone.
        let Some(sending) = lanes.find(|it| it.has_lent(&batch)) else {
            self.spent.extend(batch.into_payloads());
            return None;
        };
        sending.on_written(batch)
    }

    fn workers(&self) -> usize {
        self.lanes.len() - 1
    }

    /// Which slot's worker has this lane.
    fn slot(&self, lane: usize) -> usize {
        if lane == self.workers() {
            self.replaced
        } else {
            lane
        }
    }

    fn wake_if_drained(&mut self, wakers: &mut Vec<Waker>) {
        // Nobody waits for this before a shutdown, so that counting costs nothing before.
        if !self.drained.is_empty() && self.unanswered() == 0 {
            wakers.append(&mut self.drained);
        }
    }

    /// Calls whose callers still wait for a worker to answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.calls
            .ids()
            .filter(|(_, call)| call.state.is_awaited())
            .count()
    }

    /// Why no worker will ever be ready, if so.
    fn all_gone(&self) -> Option<Error> {
        let mut why = &Gone::ShutDown;
        for lane in &self.lanes[..self.workers()] {
            match (lane.state(), why) {
                (LaneState::Gone(Gone::ShutDown), _) => {}
                // One that was given up before then does not matter any more.
                (LaneState::Gone(Gone::NotStarted(_)), Gone::RuntimeEnded) => {}
                (LaneState::Gone(other), _) => why = other,
                _ => return None,
            }
        }
        Some(why.clone().into())
    }

    /// Why the pool does nothing any more.
    pub(crate) fn end(&self) -> Error {
        let gone = self.all_gone().filter(|_| self.open);
        gone.unwrap_or(Error::ShutDown)
    }

    /// The functions of the slot's worker, if it said which it has.
    pub(crate) fn functions_of(&self, worker: usize) -> Vec<Arc<str>> {
        let ids = self.lanes[worker].functions().iter();
        ids.map(|id| self.methods.name(*id)).collect()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.lanes.iter().map(Lane::in_flight).sum()
    }

    /// Calls that the slot's worker has, and one that it has replaced.
    pub(crate) fn in_flight_of(&self, worker: usize) -> usize {
        let replaced = match self.replaced == worker {
            true => self.lanes[self.workers()].in_flight(),
            false => 0,
        };
        self.lanes[worker].in_flight() + replaced
    }

    /// See [`Lane::in_flight`].
    pub(crate) fn in_flight_on(&self, lane: usize) -> usize {
        self.lanes[lane].in_flight()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.workers() * self.limits.max_in_flight
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    fn ready(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.is_open()).count()
    }
}

fn cannot_send(method: &str, source: EncodeError) -> Error {
    Error::Encode {
        method: method.into(),
        path: String::new(),
        source,
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod owned;
#[cfg(test)]
mod tests;
