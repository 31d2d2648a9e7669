//! Counts of lines.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

/// The counts of lines so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoggingStats {
    /// Lines that the output accepted. Lines about dropped lines are not counted.
    pub written: u64,
    /// Lines that were dropped, because too many waited for the output already, or because the log was closed.
    pub dropped: u64,
    /// Lines that the output refused, at least in part.
    pub failed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    pub(super) fn settle(&self, lines: u64, result: io::Result<()>) {
        let count = if result.is_ok() {
            &self.written
        } else {
            &self.failed
        };
        count.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> LoggingStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LoggingStats {
            written: read(&self.written),
            dropped: read(&self.dropped),
            failed: read(&self.failed),
        }
    }
}
