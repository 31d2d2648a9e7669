//! Which call goes to which worker, and which answer to which call.
//!
//! The scheduler is plain data. Events and the time come in as method calls; what is to be done comes out as return
//! values and [`Actions`]. It does no I/O and has no clock, lock or runtime, so it can be simulated. The driver
//! (`driver/`) has those. Events of a call: [`submit`](Scheduler::submit), [`poll_outcome`](Scheduler::poll_outcome),
//! [`cancel`](Scheduler::cancel). Events of a connection: [`on_ready`](Scheduler::on_ready),
//! [`on_answers`](Scheduler::on_answers), [`next_write`](Scheduler::next_write), [`on_written`](Scheduler::on_written),
//! [`on_drain`](Scheduler::on_drain), [`on_violation`](Scheduler::on_violation), [`close`](Scheduler::close),
//! [`fail`](Scheduler::fail). The time: [`on_time`](Scheduler::on_time).

use std::{sync::Arc, task::Waker, time::Instant};

use crate::{Error, StartFailure};

mod actions;
mod answers;
mod batches;
mod call_table;
mod calls;
mod connection;
mod depth;
mod ids;
mod in_order;
mod methods;
mod outbox;
mod queue;
mod timers;
mod violations;
mod workers;

pub(crate) use actions::{Actions, Attribution};
pub(crate) use answers::NextWrite;
pub(crate) use batches::{Batch, Flush};
pub(crate) use call_table::{Answered, Outcome};
pub(crate) use calls::{Admission, Cancelled};
pub(crate) use connection::ConnectionConfig;
pub(crate) use ids::{CallId, ConnectionId};
pub(crate) use methods::Methods;
pub(crate) use outbox::{LARGE, Outbox};
pub(crate) use violations::Verdict;

use call_table::CallTable;
use connection::{Connection, Connections};
use queue::Queue;
use timers::Timers;

#[derive(Debug)]
pub(crate) struct Scheduler {
    calls: CallTable,
    /// Calls that wait for a worker. It is empty unless no worker has room.
    queue: Queue,
    timers: Timers,
    methods: Methods,
    slots: Vec<Slot>,
    connections: Connections,
    limits: Limits,
    open: bool,
    /// Buffers of queued requests, for later ones.
    spare: Vec<Vec<u8>>,
    /// Wakers of those who wait for the last answer.
    drained: Vec<Waker>,
    counters: Counters,
    actions: Actions,
}

/// A place in the pool, for one worker at a time.
#[derive(Debug)]
enum Slot {
    /// No worker at present; one is starting.
    Empty,
    /// The connection of the worker that gets the slot's calls. It stays until it is closed and has no calls.
    Taken(ConnectionId),
    /// No further worker will start.
    Stopped(StopReason),
}

/// Why no further worker will start.
#[derive(Debug, Clone)]
pub(crate) enum StopReason {
    ShutDown,
    /// Too many starts failed in a row; this was the last failure.
    NotStarted(Arc<StartFailure>),
    RuntimeEnded,
}

impl From<StopReason> for Error {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::ShutDown => Self::ShutDown,
            StopReason::NotStarted(failure) => Self::NoWorkers(failure),
            StopReason::RuntimeEnded => Self::RuntimeEnded,
        }
    }
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

/// Each buffer is small: large requests are written from their own memory.
const MAX_SPARE: usize = 64;

impl Scheduler {
    pub(crate) fn new(workers: usize, limits: Limits) -> Self {
        Self {
            calls: CallTable::default(),
            queue: Queue::default(),
            timers: Timers::default(),
            methods: Methods::default(),
            slots: (0..workers).map(|_| Slot::Empty).collect(),
            connections: Connections::default(),
            limits,
            open: true,
            spare: Vec::new(),
            drained: Vec::new(),
            counters: Counters::default(),
            actions: Actions::default(),
        }
    }

    /// What is to be done. The driver takes it after each event.
    #[inline]
    pub(crate) fn actions(&mut self) -> &mut Actions {
        &mut self.actions
    }

    /// The known functions.
    pub(crate) fn methods(&mut self) -> &mut Methods {
        &mut self.methods
    }

    /// Wakes the callers whose deadlines are not later than `now`. One call handles a bounded number of them; if there
    /// are more, [`next_deadline`](Self::next_deadline) is not later than `now` afterwards.
    pub(crate) fn on_time(&mut self, now: Instant) {
        let Self {
            timers, actions, ..
        } = self;
        timers.pass(now, &mut self.calls, |call| {
            call.deadline = None;
            actions.wake.extend(call.waker.take());
        });
    }

    /// When [`on_time`](Self::on_time) is to be called.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The connections that get the slots' calls.
    fn current(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(id) => Some((*id, self.connections.get(*id)?)),
            _ => None,
        })
    }

    /// Keeps the buffer of a request for a later one.
    fn keep_buffer(&mut self, buffer: Option<Vec<u8>>) {
        let room = self.spare.len() < MAX_SPARE;
        self.spare.extend(buffer.filter(|_| room));
    }

    /// Why no worker will ever be ready; `None` if one may be.
    fn all_stopped(&self) -> Option<Error> {
        let mut why = &StopReason::ShutDown;
        for slot in &self.slots {
            match (slot, why) {
                (Slot::Stopped(StopReason::ShutDown), _) => {}
                // A slot whose starts had failed before the runtime ended does not count.
                (Slot::Stopped(StopReason::NotStarted(_)), StopReason::RuntimeEnded) => {}
                (Slot::Stopped(other), _) => why = other,
                _ => return None,
            }
        }
        Some(why.clone().into())
    }

    /// Why the pool accepts no calls.
    pub(crate) fn why_closed(&self) -> Error {
        let error = self.all_stopped().filter(|_| self.open);
        error.unwrap_or(Error::ShutDown)
    }

    /// The functions of the slot's worker, if the worker listed them.
    pub(crate) fn functions_of(&self, slot: usize) -> Vec<Arc<str>> {
        let connection = match self.slots[slot] {
            Slot::Taken(id) => self.connections.get(id),
            _ => None,
        };
        let listed = connection.map_or(&[][..], |it| it.methods.listed());
        listed.iter().map(|id| self.methods.name(*id)).collect()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.connections.iter().map(|it| it.in_flight).sum()
    }

    /// Calls in flight at the slot's worker, and at the worker that it replaced.
    pub(crate) fn in_flight_of(&self, slot: usize) -> usize {
        let of_slot = self.connections.iter().filter(|it| it.slot == slot);
        of_slot.map(|it| it.in_flight).sum()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len() * self.limits.max_in_flight
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    fn ready(&self) -> usize {
        self.current().filter(|(_, it)| it.is_open()).count()
    }
}

#[cfg(test)]
pub(crate) mod tests;
