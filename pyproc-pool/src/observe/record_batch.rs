//! What one worker has sent beside its answers, between two turns of the thread that reads it.

use std::mem;

use crate::output::Tail;

/// What one worker has sent and nobody has looked at.
#[derive(Debug, Default)]
pub(crate) struct RecordBatch {
    /// The worker's slot.
    pub(crate) worker: usize,
    pub(crate) pid: Option<u32>,
    /// It says that it is not written in Python.
    pub(crate) foreign: bool,
    /// Where the last of what it said is kept.
    pub(crate) tail: Option<Tail>,
    /// Lines, as in the frames.
    pub(crate) records: Vec<u8>,
    /// RecordQueue that there was no room for.
    pub(crate) dropped: u64,
    /// Frames that were too long to be read: at least one record each.
    pub(crate) too_long: u64,
    /// There is no more to come, and somebody waits until all of it was told.
    pub(crate) is_last: bool,
}

/// What may wait for each worker, unless one frame alone is larger.
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

    /// RecordQueue that are lost if nobody looks at this.
    pub(super) fn all(&self) -> u64 {
        self.dropped + self.too_long + records(&self.records)
    }

    /// To be filled again.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.records.shrink_to(KEPT);
        self.dropped = 0;
        self.too_long = 0;
        self.is_last = false;
    }

    /// Takes what has arrived, and leaves empty memory.
    pub(super) fn swap(&mut self, empty: &mut Self) {
        mem::swap(self, empty);
        self.worker = empty.worker;
        self.pid = empty.pid;
        self.foreign = empty.foreign;
        self.tail.clone_from(&empty.tail);
    }
}

/// How many records there are in the payload of a frame.
fn records(payload: &[u8]) -> u64 {
    let lines = payload.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.trim_ascii().is_empty()).count() as u64
}
