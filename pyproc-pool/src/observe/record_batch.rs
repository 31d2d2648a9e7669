//! The records of one worker, between two turns of the thread that reads them.

use std::mem;

use crate::output::Tail;

/// Records that one worker has sent and that are not read yet.
#[derive(Debug, Default)]
pub(crate) struct RecordBatch {
    /// The worker's slot.
    pub(crate) worker: usize,
    pub(crate) pid: Option<u32>,
    /// The worker reported that it is not written in Python.
    pub(crate) foreign: bool,
    /// Keeps the last of the worker's output.
    pub(crate) tail: Option<Tail>,
    /// Lines, as in the frames.
    pub(crate) records: Vec<u8>,
    /// Records that were dropped because the queue was full.
    pub(crate) dropped: u64,
    /// Frames that were too long to be read: at least one record each.
    pub(crate) too_long: u64,
    /// No more records follow, and a task waits until all of them are handled.
    pub(crate) is_last: bool,
}

/// Bytes that may wait for each worker; a single frame may be larger.
const ROOM: usize = 1024 * 1024;

/// Memory that is kept for the next batch.
const KEPT: usize = 64 * 1024;

impl RecordBatch {
    pub(super) fn push(&mut self, frame: &[u8]) {
        if !self.records.is_empty() && self.records.len() + frame.len() > ROOM {
            self.dropped += records(frame);
            return;
        }
        self.records.extend_from_slice(frame);
        if !frame.ends_with(b"\n") {
            self.records.push(b'\n');
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.dropped == 0 && self.too_long == 0
    }

    /// The number of records that are lost if this is dropped unread.
    pub(super) fn all(&self) -> u64 {
        self.dropped + self.too_long + records(&self.records)
    }

    /// Empties the batch, so that it can be filled again.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.records.shrink_to(KEPT);
        self.dropped = 0;
        self.too_long = 0;
        self.is_last = false;
    }

    /// Takes what has arrived, and leaves an empty batch of the same worker.
    pub(super) fn swap(&mut self, empty: &mut Self) {
        mem::swap(self, empty);
        self.worker = empty.worker;
        self.pid = empty.pid;
        self.foreign = empty.foreign;
        self.tail.clone_from(&empty.tail);
    }
}

/// The number of records in the payload of a frame.
fn records(payload: &[u8]) -> u64 {
    let lines = payload.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.trim_ascii().is_empty()).count() as u64
}
