//! Decides who writes the requests to a worker, and when.
//!
//! Usually the caller whose request completes a batch writes it, so no other thread has to wake up. Otherwise the
//! connection's task writes. There is one writer at a time, so frames leave whole and in order.

use std::{mem, task::Waker};

use bytes::Bytes;
use pyproc_protocol::{EncodeError, RequestHead, Version};

use super::{ids::ConnectionId, outbox::Outbox};
use crate::outgoing::Payload;

/// The frames for one worker.
#[derive(Debug)]
pub(super) struct Batches {
    connection: ConnectionId,
    /// Frames without a writer yet.
    outbox: Outbox,
    /// What a caller could not write. It leaves before `outbox`.
    rest: Outbox,
    /// An empty outbox whose memory is used again.
    spare: Outbox,
    /// Number of requests in `outbox`.
    unwritten: usize,
    writer: Writer,
    /// The connection's task polls for answers instead of sleeping, and has to be woken when one is expected.
    spins: bool,
    /// The waker of the connection's task, while it sleeps because it has no frames.
    sleeper: Option<Waker>,
    awaited: Awaited,
    /// How often the connection's task may still yield before it writes.
    yields_left: u8,
}

/// The current writer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    #[default]
    Nobody,
    Caller,
    Connection,
}

/// Callers that were just woken. They may make their next calls at once.
#[derive(Debug, Default)]
struct Awaited {
    /// Those that have made no call since.
    callers: usize,
    /// The number of requests that completes a batch.
    batch: usize,
}

/// Who writes a request that has been added.
#[derive(Debug)]
pub(crate) enum Flush {
    /// The current writer will write it, or the connection's task, which is awake.
    Scheduled,
    /// The connection's task has to be woken.
    Wake(Waker),
    /// The caller writes this batch.
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
            yields_left: 0,
        }
    }

    /// The large payloads that were not written.
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

    /// The buffer for control messages, which are small.
    pub(super) fn control(&mut self) -> &mut Vec<u8> {
        self.outbox.tail()
    }

    /// Decides who writes the request that a caller has added. The worker has `in_flight` calls, with this one.
    pub(super) fn flush(&mut self, in_flight: usize) -> Flush {
        let is_full = self.awaited.on_request(self.unwritten);
        let is_idle = self.unwritten == in_flight;
        if (is_full || is_idle) && self.writer == Writer::Nobody && self.rest.is_empty() {
            self.writer = Writer::Caller;
            self.unwritten = 0;
            return Flush::Write(Batch {
                connection: self.connection,
                frames: mem::replace(&mut self.outbox, mem::take(&mut self.spare)),
            });
        }
        self.wake().map_or(Flush::Scheduled, Flush::Wake)
    }

    /// The waker of the connection's task, if the task has to write what was added.
    pub(super) fn wake(&mut self) -> Option<Waker> {
        match self.writer {
            // `on_written` checks for further frames.
            Writer::Caller => None,
            _ => self.sleeper.take(),
        }
    }

    /// The connection's task is about to wake this number of callers, while the worker has `in_flight` calls.
    ///
    /// A batch is one half of all calls: the worker runs one half while the callers make the other. Requests that are
    /// unwritten now have waited before, and do not wait for these callers.
    pub(super) fn on_woken(&mut self, callers: usize, in_flight: usize) {
        if callers == 0 {
            return;
        }
        self.awaited = Awaited {
            callers,
            batch: (callers + in_flight).div_ceil(2),
        };
        if callers > 1 {
            // The task yields, and continues without a wake-up.
            self.sleeper = None;
            if self.unwritten == 0 {
                self.yields_left = 2;
            }
        }
    }

    /// Whether the connection's task should yield before it writes: to the callers that it woke and, while the worker
    /// has other calls, to callers that are about to add requests.
    pub(super) fn should_yield(&mut self, in_flight: usize) -> bool {
        let should_yield = match self.unwritten {
            0 => self.yields_left > 1,
            unwritten => self.yields_left > 0 && in_flight > unwritten,
        };
        self.yields_left -= u8::from(should_yield);
        should_yield
    }

    /// For the connection, which has written all that it had: swaps the next frames with `empty`. If there are none,
    /// keeps `waker` to wake it later.
    pub(super) fn take(&mut self, empty: &mut Outbox, waker: &Waker) -> bool {
        self.yields_left = 1;
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

    /// A caller has written what it could. Returns the waker of the connection's task if that has something to do.
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
    /// Whether this request completes a batch. With it, this number of requests is unwritten.
    fn on_request(&mut self, unwritten: usize) -> bool {
        if self.callers == 0 {
            return false;
        }
        self.callers -= 1;
        self.callers == 0 || unwritten >= self.batch
    }
}

impl Batch {
    /// The connection that the frames are for.
    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The frames. The writer advances them over what it has written.
    pub(crate) fn frames(&mut self) -> &mut Outbox {
        &mut self.frames
    }

    /// The large payloads that were not written.
    pub(super) fn into_payloads(self) -> impl Iterator<Item = Bytes> {
        self.frames.into_payloads()
    }
}

#[cfg(test)]
mod tests;
