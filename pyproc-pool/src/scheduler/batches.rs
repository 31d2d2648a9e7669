//! Who writes what a worker is sent, and when.
//!
//! Mostly the caller whose request makes a batch full, so that nobody else has to be woken for it; else the
//! connection's task. Only one at a time, so that frames leave in order and whole.

use std::{mem, task::Waker};

use bytes::Bytes;
use pyproc_protocol::{EncodeError, RequestHead, Version};

use super::{ids::ConnectionId, outbox::Outbox};
use crate::outgoing::Payload;

/// What is on its way to one worker.
#[derive(Debug)]
pub(super) struct Batches {
    connection: ConnectionId,
    /// What nobody writes yet.
    outbox: Outbox,
    /// What a caller has left over, to go before that.
    rest: Outbox,
    /// Memory for the next batch.
    spare: Outbox,
    /// Requests in `outbox`.
    unwritten: usize,
    writer: Writer,
    /// The connection's task looks for answers instead of sleeping, and is to know that one will come.
    spins: bool,
    /// The connection's task, while it sleeps for want of frames.
    sleeper: Option<Waker>,
    awaited: Awaited,
    /// How often the connection's task still lets others run before it writes.
    turns: u8,
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
    connection: ConnectionId,
    frames: Outbox,
}

impl Batches {
    pub(super) fn new(connection: ConnectionId, spins: bool) -> Self {
        Self {
            connection,
            outbox: Outbox::default(),
            rest: Outbox::default(),
            spare: Outbox::default(),
            unwritten: 0,
            writer: Writer::Nobody,
            spins,
            sleeper: None,
            awaited: Awaited::default(),
            turns: 0,
        }
    }

    /// The large payloads that will not be written.
    pub(super) fn into_payloads(self) -> impl Iterator<Item = Bytes> {
        let outboxes = [self.rest, self.outbox];
        outboxes.into_iter().flat_map(Outbox::into_payloads)
    }

    /// Adds a request; see [`Outbox::push`].
    pub(super) fn push(
        &mut self,
        version: Version,
        head: &RequestHead<'_>,
        payload: &mut Payload,
        keep: bool,
        max_frame_size: usize,
    ) -> Result<Option<Vec<u8>>, EncodeError> {
        let outbox = &mut self.outbox;
        let buffer = outbox.push(version, head, payload, keep, max_frame_size)?;
        self.unwritten += 1;
        Ok(buffer)
    }

    /// For control messages to be added, which are small.
    pub(super) fn control(&mut self) -> &mut Vec<u8> {
        self.outbox.tail()
    }

    /// Who is to write what a caller has added. With its request the worker has, or will have, so many.
    pub(super) fn next(&mut self, in_flight: usize) -> Next {
        let is_full = self.awaited.one_came(self.unwritten);
        let is_idle = self.unwritten == in_flight;
        if (is_full || is_idle) && self.writer == Writer::Nobody && self.rest.is_empty() {
            self.writer = Writer::Caller;
            self.unwritten = 0;
            return Next::Write(Batch {
                connection: self.connection,
                frames: mem::replace(&mut self.outbox, mem::take(&mut self.spare)),
            });
        }
        self.wake().map_or(Next::Settled, Next::Wake)
    }

    /// The connection's task, if it has to be woken for what was added.
    pub(super) fn wake(&mut self) -> Option<Waker> {
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
    pub(super) fn on_woken(&mut self, callers: usize, in_flight: usize) {
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
    pub(super) fn may_wait(&mut self, in_flight: usize) -> bool {
        let may_wait = match self.unwritten {
            0 => self.turns > 1,
            unwritten => self.turns > 0 && in_flight > unwritten,
        };
        self.turns -= u8::from(may_wait);
        may_wait
    }

    /// For the connection, which has written what it had: swaps what is to be written with `empty`. When there is
    /// nothing, `waker` is woken as soon as there is.
    pub(super) fn take(&mut self, empty: &mut Outbox, waker: &Waker) -> bool {
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

    /// A caller has written what it could. Returns the connection's task, if there is something for it to do.
    pub(super) fn on_written(&mut self, batch: Batch) -> Option<Waker> {
        self.writer = Writer::Nobody;
        match batch.frames.is_empty() {
            true => self.spare = batch.frames,
            false => self.rest = batch.frames,
        }
        let is_all = self.rest.is_empty() && self.outbox.is_empty();
        self.sleeper.take_if(|_| self.spins || !is_all)
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
    /// Where it is to be written.
    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// To be written in order, and advanced over what was.
    pub(crate) fn frames(&mut self) -> &mut Outbox {
        &mut self.frames
    }

    /// The large payloads that will not be written.
    pub(super) fn into_payloads(self) -> impl Iterator<Item = Bytes> {
        self.frames.into_payloads()
    }
}

#[cfg(test)]
mod tests;
