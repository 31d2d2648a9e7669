//! Drives the scheduler: holds its lock, knows the transports, carries out its actions.
//!
//! An event is handled under the lock. The scheduler's actions are carried out after the lock's release.

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

/// Wakes the thread or task that watches deadlines.
#[derive(Debug, Default)]
struct Alarm {
    thread: Condvar,
    #[cfg(feature = "testing")]
    task: Notify,
}

#[derive(Debug)]
struct Core {
    scheduler: Scheduler,
    /// By the place in a connection's id.
    endpoints: Vec<Endpoint>,
    /// The pool is gone: no calls will come.
    is_stopped: bool,
}

/// What belongs to a connection, while it exists.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) write: Weak<WriteHalf>,
    /// Attributes the output of a legacy worker's process to its calls.
    pub(crate) attributor: Option<Arc<CallAttributor>>,
}

/// The locked scheduler. Its actions are carried out when this is dropped.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    // Fields are dropped in this order.
    core: MutexGuard<'a, Core>,
    deferred: Deferred<'a>,
}

/// Actions to carry out after the release; usually none.
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
                endpoints: Vec::new(),
                is_stopped: false,
            }),
            alarm: Alarm::default(),
        }
    }

    /// Locks the scheduler. Never hold this across an await.
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

    /// Writes a batch once: a worker that reads as fast as a caller writes must not keep the caller busy. The connection's
    /// task writes the rest, and handles errors.
    pub(crate) fn write(&self, mut batch: Batch, to: Option<Arc<WriteHalf>>) {
        if let Some(to) = to {
            let (slices, count) = batch.frames().slices();
            let written = to.try_write(&slices[..count]);
            batch.frames().advance(written.unwrap_or(0));
        }
        let connection = self.lock().on_written(batch);
        connection.into_iter().for_each(Waker::wake);
    }

    /// Waits for the first deadline of a call, or for the time that `due` returns. Returns the time; `None` when the pool is gone.
    pub(crate) fn wait_for_deadline(
        &self,
        due: impl Fn(Instant) -> Option<Instant>,
    ) -> Option<Instant> {
        let mut core = self.core();
        while !core.is_stopped {
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

    /// The same by tokio's clock. Only one task may wait at a time.
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
                match core.is_stopped {
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

    /// The watcher of deadlines checks again what is due.
    pub(crate) fn recheck_deadlines(&self) {
        // After this, that thread has either seen what is due, or it waits.
        drop(self.core());
        self.alarm.ring();
    }

    pub(crate) fn stop(&self) {
        self.core().is_stopped = true;
        self.alarm.ring();
    }
}

impl Core {
    /// The earlier of `other` and the first deadline of a call.
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
    pub(crate) fn on_ready(
        &mut self,
        slot: usize,
        peer: &Peer,
        config: ConnectionConfig,
        to: Endpoint,
        now: Instant,
    ) -> ConnectionId {
        let Core {
            scheduler,
            endpoints,
            ..
        } = &mut *self.core;
        let id = scheduler.on_ready(slot, peer, config, now);
        match endpoints.get_mut(id.place()) {
            Some(place) => *place = to,
            None => endpoints.push(to),
        }
        id
    }

    /// The transport for a batch; `None` if its connection has ended.
    #[inline]
    pub(crate) fn transport_of(&self, batch: &Batch) -> Option<Arc<WriteHalf>> {
        let place = batch.connection().place();
        self.core.endpoints.get(place)?.write.upgrade()
    }

    #[cold]
    fn take_actions(&mut self) {
        let mut actions = self.core.scheduler.actions().take();
        for (id, attribution) in actions.attribute.drain(..) {
            if let Some(endpoint) = self.core.endpoints.get_mut(id.place()) {
                endpoint.attribute(attribution);
            }
        }
        self.deferred.actions = Some(Box::new(actions));
    }
}

impl Endpoint {
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
