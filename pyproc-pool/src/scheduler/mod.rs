//! Which call goes to which worker, and which answer to which call.
//!
//! Everything here is plain data: events and the time come in as calls of methods, what is to be done comes out as return
//! values and [`Actions`]. There is no I/O, clock, lock or runtime, so that all of it can be simulated; whoever drives it
//! (`driver/`) has those. Events of a call: [`submit`](Scheduler::submit), [`poll_outcome`](Scheduler::poll_outcome),
//! [`give_up`](Scheduler::give_up). Of a connection: [`up`](Scheduler::up), [`on_answers`](Scheduler::on_answers),
//! [`next_write`](Scheduler::next_write), [`on_written`](Scheduler::on_written), [`on_drain`](Scheduler::on_drain),
//! [`on_violation`](Scheduler::on_violation), [`close`](Scheduler::close), [`fail`](Scheduler::fail). And
//! [`on_time`](Scheduler::on_time).

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
pub(crate) use batches::{Batch, Next};
pub(crate) use call_table::{Answered, Outcome};
pub(crate) use calls::{Admission, GivenUp};
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
    /// Calls that wait for a worker. Not empty only while no worker has room.
    queue: Queue,
    timers: Timers,
    methods: Methods,
    slots: Vec<Slot>,
    connections: Connections,
    limits: Limits,
    open: bool,
    /// Memory of requests that waited, for the next ones.
    spare: Vec<Vec<u8>>,
    /// Who waits for the last answer.
    drained: Vec<Waker>,
    counters: Counters,
    actions: Actions,
}

/// A worker's place in the pool.
#[derive(Debug)]
enum Slot {
    /// No worker at present; one is on its way.
    Empty,
    /// The worker that gets the slot's calls, until it is closed and nothing of its calls is left.
    Taken(ConnectionId),
    /// No worker any more.
    Gone(Gone),
}

/// Why no worker will come any more.
#[derive(Debug, Clone)]
pub(crate) enum Gone {
    ShutDown,
    /// The last failure was one too many.
    NotStarted(Arc<StartFailure>),
    RuntimeEnded,
}

impl From<Gone> for Error {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::ShutDown => Self::ShutDown,
            Gone::NotStarted(failure) => Self::NoWorkers(failure),
            Gone::RuntimeEnded => Self::RuntimeEnded,
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

/// Each is small: large requests are written from their own memory.
const MOST_SPARE: usize = 64;

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

    /// What is to be done now. After each event, whoever drives the scheduler takes it.
    #[inline]
    pub(crate) fn actions(&mut self) -> &mut Actions {
        &mut self.actions
    }

    /// The functions that are known.
    pub(crate) fn methods(&mut self) -> &mut Methods {
        &mut self.methods
    }

    /// Wakes callers whose deadlines have passed by `now`: all of them, unless they are so many that
    /// [`next_deadline`](Self::next_deadline) is not later than `now` afterwards.
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

    /// The connections that get calls, with what they have.
    fn current(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(id) => Some((*id, self.connections.get(*id)?)),
            _ => None,
        })
    }

    /// Keeps the memory of a request for another.
    fn keep(&mut self, buffer: Option<Vec<u8>>) {
        let room = self.spare.len() < MOST_SPARE;
        self.spare.extend(buffer.filter(|_| room));
    }

    /// Why no worker will ever be ready, if so.
    fn all_gone(&self) -> Option<Error> {
        let mut why = &Gone::ShutDown;
        for slot in &self.slots {
            match (slot, why) {
                (Slot::Gone(Gone::ShutDown), _) => {}
                // One that was given up before then does not matter any more.
                (Slot::Gone(Gone::NotStarted(_)), Gone::RuntimeEnded) => {}
                (Slot::Gone(other), _) => why = other,
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

    /// Calls that the slot's worker has, and one that it has replaced.
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
