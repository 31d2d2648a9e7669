//! What drives the scheduler: its lock, the clock, the transports, and the tasks and threads that use them.
//!
//! An event is handled under the lock; what the scheduler wants done is done when the lock has been released.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, PoisonError, Weak},
    task::Waker,
    time::{Duration, Instant},
};

use pyproc_protocol::Peer;
#[cfg(feature = "testing")]
use tokio::{sync::Notify, time::timeout_at};

use crate::{
    clock::Clock,
    outgoing::discard,
    output::CallAttributor,
    scheduler::{Actions, Attribution, Batch, ConnectionConfig, ConnectionId, Limits, Scheduler},
    sync::{Condvar, Mutex, MutexGuard},
    transport::WriteHalf,
};

mod connection;
mod inbox;
mod spin;

pub(crate) use connection::{Closed, Connection};

#[derive(Debug)]
pub(crate) struct Driver {
    core: Mutex<Core>,
    alarm: Alarm,
}

/// Makes whoever keeps deadlines look again.
#[derive(Debug, Default)]
struct Alarm {
    thread: Condvar,
    #[cfg(feature = "testing")]
    task: Notify,
}

#[derive(Debug)]
struct Core {
    scheduler: Scheduler,
    /// By the places of connections.
    outlets: Vec<Outlet>,
    /// Nobody makes calls any more.
    is_over: bool,
}

/// Where a connection leads, as long as it is there.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) write: Weak<WriteHalf>,
    /// What attributes the output of the worker's process to calls, if the worker does not do so itself.
    pub(crate) attributor: Option<Arc<CallAttributor>>,
}

/// The scheduler, locked. What it wants done is done when this is dropped.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    // Fields are dropped in this order.
    core: MutexGuard<'a, Core>,
    deferred: Deferred<'a>,
}

/// What is to be done without the lock; mostly nothing.
#[derive(Debug)]
struct Deferred<'a> {
    alarm: &'a Alarm,
    actions: Option<Box<Actions>>,
}

impl Driver {
    pub(crate) fn new(workers: usize, limits: Limits) -> Self {
        Self {
            core: Mutex::new(Core {
                scheduler: Scheduler::new(workers, limits),
                outlets: Vec::new(),
                is_over: false,
            }),
            alarm: Alarm::default(),
        }
    }

    /// Held for moments only, and never across an await.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked {
            core: self.core(),
            deferred: Deferred {
                alarm: &self.alarm,
                actions: None,
            },
        }
    }

    #[inline]
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch once, so that no caller is held up for a worker that reads as fast. What is left then, and errors,
    /// are for the connection.
    pub(crate) fn write(&self, mut batch: Batch, to: Option<Arc<WriteHalf>>) {
        if let Some(to) = to {
            let (slices, count) = batch.frames().slices();
            let written = to.try_write(&slices[..count]);
            batch.frames().advance(written.unwrap_or(0));
        }
        let connection = self.lock().on_written(batch);
        connection.into_iter().for_each(Waker::wake);
    }

    /// Waits for the first deadline of a call, or until something else is due. Returns the time, or `None` when nobody makes
    /// calls any more.
    pub(crate) fn wait_for_deadline(
        &self,
        due: impl Fn(Instant) -> Option<Instant>,
    ) -> Option<Instant> {
        let mut core = self.core();
        while !core.is_over {
            let now = Clock::System.now();
            core = match core
                .next_deadline(due(now))
                .map(|next| next.saturating_duration_since(now))
            {
                Some(Duration::ZERO) => return Some(now),
                Some(left) => {
                    let waited = self.alarm.thread.wait_timeout(core, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.alarm.thread.wait(core);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        None
    }

    /// The same by tokio's clock. One task may wait at a time.
    ///
    /// Cancellation safety: no deadline is lost when the future is dropped.
    #[cfg(feature = "testing")]
    pub(crate) async fn deadline_by_tokio(
        &self,
        due: impl Fn(Instant) -> Option<Instant>,
    ) -> Option<Instant> {
        loop {
            let now = Clock::Tokio.now();
            let next = {
                let core = self.core();
                match core.is_over {
                    true => return None,
                    false => core.next_deadline(due(now)),
                }
            };
            let rung = self.alarm.task.notified();
            match next {
                Some(next) if next <= now => return Some(now),
                Some(next) => drop(timeout_at(next.into(), rung).await),
                None => rung.await,
            }
        }
    }

    /// Whoever waits for deadlines looks again at what is due.
    pub(crate) fn look_again(&self) {
        // That thread has seen what is due by now, or it waits.
        drop(self.core());
        self.alarm.ring();
    }

    pub(crate) fn end(&self) {
        self.core().is_over = true;
        self.alarm.ring();
    }
}

impl Core {
    /// The first deadline of a call, or what else is due before it.
    fn next_deadline(&self, other: Option<Instant>) -> Option<Instant> {
        let next = self.scheduler.next_deadline();
        next.into_iter().chain(other).min()
    }
}

impl Alarm {
    fn ring(&self) {
        self.thread.notify_one();
        #[cfg(feature = "testing")]
        self.task.notify_one();
    }
}

impl Locked<'_> {
    /// A worker is ready for the slot's calls.
    pub(crate) fn up(
        &mut self,
        slot: usize,
        peer: &Peer,
        config: ConnectionConfig,
        to: Outlet,
        now: Instant,
    ) -> ConnectionId {
        let Core {
            scheduler, outlets, ..
        } = &mut *self.core;
        let id = scheduler.up(slot, peer, config, now);
        match outlets.get_mut(id.place()) {
            Some(place) => *place = to,
            None => outlets.push(to),
        }
        id
    }

    /// Where a batch that was just handed out is to be written, unless its connection has ended.
    #[inline]
    pub(crate) fn transport_of(&self, batch: &Batch) -> Option<Arc<WriteHalf>> {
        let place = batch.connection().place();
        self.core.outlets.get(place)?.write.upgrade()
    }

    #[cold]
    fn take_actions(&mut self) {
        let mut actions = self.core.scheduler.actions().take();
        for (id, attribution) in actions.attribute.drain(..) {
            if let Some(outlet) = self.core.outlets.get_mut(id.place()) {
                outlet.attribute(attribution);
            }
        }
        self.deferred.actions = Some(Box::new(actions));
    }
}

impl Outlet {
    fn attribute(&mut self, attribution: Attribution) {
        let Some(attributor) = &self.attributor else {
            return;
        };
        match attribution {
            Attribution::Sent(call) => attributor.on_request(call),
            Attribution::Answered => attributor.on_answer(),
            Attribution::Forgotten => {
                attributor.forget_calls();
                self.attributor = None;
            }
        }
    }
}

impl Deref for Locked<'_> {
    type Target = Scheduler;

    #[inline]
    fn deref(&self) -> &Scheduler {
        &self.core.scheduler
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Scheduler {
        &mut self.core.scheduler
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.core.scheduler.actions().is_empty() {
            self.take_actions();
        }
    }
}

impl Drop for Deferred<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(actions) = self.actions.take() {
            carry_out(self.alarm, *actions);
        }
    }
}

#[cold]
fn carry_out(alarm: &Alarm, actions: Actions) {
    if actions.arm.is_some() {
        alarm.ring();
    }
    actions.wake.into_iter().for_each(Waker::wake);
    actions.discard.into_iter().for_each(discard);
}

#[cfg(test)]
#[cfg(shuttle)]
mod interleavings;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
