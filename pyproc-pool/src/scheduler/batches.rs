//! Who writes what a worker is sent, and when.
//!
//! Mostly the caller whose request makes a batch full, so that nobody else has to be woken for it; else the
//! connection's task. Only one at a time, so that frames leave in order and whole.

use std::{
    mem,
    sync::{Arc, Weak},
    task::Waker,
};

use bytes::Bytes;
use tokio::net::unix::OwnedWriteHalf;

use crate::{scheduler::outbox::Outbox, worker::Origin};

/// What is on its way to one worker.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// What nobody writes yet.
    outbox: Outbox,
    /// What a caller has left over, to go before that.
    rest: Outbox,
    /// Memory for the next batch.
    spare: Outbox,
    /// Requests in `outbox`.
    unwritten: usize,
    writer: Writer,
    wire: Wire,
    /// The connection's task, while it sleeps for want of frames.
    sleeper: Option<Waker>,
    awaited: Awaited,
    /// How often the connection's task still lets others run before it writes.
    turns: u8,
}

/// Where callers write.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) half: Weak<OwnedWriteHalf>,
    /// Where the output of the worker's process is attributed to calls, if the worker does not do so itself.
    pub(crate) origin: Option<Arc<Origin>>,
    /// The connection's task looks for answers instead of sleeping, and is to know that one will come.
    pub(crate) spins: bool,
}

/// Who writes at present.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    #[default]
    Nobody,
    Caller,
    Connection,
}

/// Callers that were just woken, and may make their next calls at once.
#[derive(Debug, Default)]
struct Awaited {
    /// Those that have not done so.
    callers: usize,
    /// Requests that make a batch.
    batch: usize,
}

/// Who is to write a request that has been added.
#[derive(Debug)]
pub(crate) enum Next {
    /// Somebody will, without being asked.
    Settled,
    /// The connection's task, which sleeps.
    Wake(Waker),
    /// The caller.
    Write(Batch),
}

/// Frames that a caller writes.
#[derive(Debug)]
pub(crate) struct Batch {
    half: Arc<OwnedWriteHalf>,
    frames: Outbox,
}

impl Sending {
    pub(crate) fn to(wire: Wire) -> Self {
        Self {
            wire,
            ..Self::default()
        }
    }

    /// The large payloads that will not be written.
    pub(crate) fn into_payloads(self) -> impl Iterator<Item = Bytes> {
        let outboxes = [self.rest, self.outbox];
        outboxes.into_iter().flat_map(Outbox::into_payloads)
    }

    /// For frames to be added.
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// A request was added.
    pub(crate) fn on_request(&mut self) {
        self.unwritten += 1;
    }

    /// Who is to write what a caller has added. With its request the worker has, or will have, so many.
    pub(crate) fn next(&mut self, in_flight: usize) -> Next {
        let is_full = self.awaited.one_came(self.unwritten);
        let is_idle = self.unwritten == in_flight;
        if (is_full || is_idle)
            && self.writer == Writer::Nobody
            && self.rest.is_empty()
            && let Some(half) = self.wire.half.upgrade()
        {
            self.writer = Writer::Caller;
            self.unwritten = 0;
            let frames = mem::replace(&mut self.outbox, mem::take(&mut self.spare));
            return Next::Write(Batch { half, frames });
        }
        self.wake().map_or(Next::Settled, Next::Wake)
    }

    /// The connection's task, if it has to be woken for what was added.
    pub(crate) fn wake(&mut self) -> Option<Waker> {
        match self.writer {
            // It is looked after when that one is done.
            Writer::Caller => None,
            _ => self.sleeper.take(),
        }
    }

    /// The connection's task is about to wake so many callers, while the worker has `in_flight` calls.
    ///
    /// A batch is one half of all calls: the worker is busy with one while the callers make the other. What is
    /// unwritten by now has waited before, and does not wait for these as well.
    pub(crate) fn on_woken(&mut self, callers: usize, in_flight: usize) {
        if callers == 0 {
            return;
        }
        self.awaited = Awaited {
            callers,
            batch: (callers + in_flight).div_ceil(2),
        };
        if callers > 1 {
            // It comes back by itself.
            self.sleeper = None;
            if self.unwritten == 0 {
                self.turns = 2;
            }
        }
    }

    /// Whether the connection's task should let others run before it writes: those that it woke, and while the worker
    /// has other calls, those who have more to write.
    pub(crate) fn may_wait(&mut self, in_flight: usize) -> bool {
        let may_wait = match self.unwritten {
            0 => self.turns > 1,
            unwritten => self.turns > 0 && in_flight > unwritten,
        };
        self.turns -= u8::from(may_wait);
        may_wait
    }

    /// For the connection, which has written what it had: swaps what is to be written with `empty`. When there is
    /// nothing, `waker` is woken as soon as there is.
    pub(crate) fn take(&mut self, empty: &mut Outbox, waker: &Waker) -> bool {
        self.turns = 1;
        if self.writer == Writer::Connection {
            self.writer = Writer::Nobody;
        }
        let next = match self.rest.is_empty() {
            true => &mut self.outbox,
            false => &mut self.rest,
        };
        if self.writer == Writer::Caller || next.is_empty() {
            self.sleeper = Some(waker.clone());
            return false;
        }
        mem::swap(next, empty);
        if self.outbox.is_empty() {
            self.unwritten = 0;
        }
        self.writer = Writer::Connection;
        self.sleeper = None;
        true
    }

    /// Whether the batch is one of its own.
    pub(crate) fn has_lent(&self, batch: &Batch) -> bool {
        self.wire.half.as_ptr() == Arc::as_ptr(&batch.half)
    }

    /// A caller has written what it could. Returns the connection's task, if there is something for it to do.
    pub(crate) fn on_written(&mut self, batch: Batch) -> Option<Waker> {
        self.writer = Writer::Nobody;
        match batch.frames.is_empty() {
            true => self.spare = batch.frames,
            false => self.rest = batch.frames,
        }
        let is_all = self.rest.is_empty() && self.outbox.is_empty();
        let spins = self.wire.spins;
        self.sleeper.take_if(|_| spins || !is_all)
    }
}

impl Awaited {
    /// Whether a request makes a batch full, of so many that are unwritten.
    fn one_came(&mut self, unwritten: usize) -> bool {
        if self.callers == 0 {
            return false;
        }
        self.callers -= 1;
        self.callers == 0 || unwritten >= self.batch
    }
}

impl Batch {
    /// The large payloads that will not be written.
    pub(crate) fn into_payloads(self) -> impl Iterator<Item = Bytes> {
        self.frames.into_payloads()
    }

    /// Writes once, so that no caller is held up for a worker that reads as fast. What is left then, and errors, are
    /// for the connection.
    pub(crate) fn write(&mut self) {
        let (slices, count) = self.frames.slices();
        if let Ok(n) = self.half.try_write_vectored(&slices[..count]) {
            self.frames.advance(n);
        }
    }
}

#[cfg(test)]
mod tests;
