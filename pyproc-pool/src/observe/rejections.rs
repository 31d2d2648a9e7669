//! Counts rejected calls, of which a full pool has thousands. The count is logged once a second.

use std::time::Instant;

use crate::output::Tally;

/// Rejections that are not logged yet.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    tally: Tally,
    last: Rejected,
}

/// A number of rejected calls, and how full the pool was at the last one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rejected {
    pub(crate) count: u64,
    pub(crate) ready: usize,
    pub(crate) in_flight: usize,
    pub(crate) queued: usize,
}

impl Rejections {
    pub(crate) fn add(&mut self, ready: usize, in_flight: usize, queued: usize) {
        self.tally.add(1);
        self.last = Rejected {
            count: 0,
            ready,
            in_flight,
            queued,
        };
    }

    /// When the next event is due.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        self.tally.due(now)
    }

    /// The rejections to log, if an event is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Rejected> {
        let count = self.tally.take(now)?;
        Some(Rejected { count, ..self.last })
    }

    /// The same at the end, when an event is always due.
    pub(crate) fn take_all(&mut self, now: Instant) -> Option<Rejected> {
        let count = self.tally.take_all(now)?;
        Some(Rejected { count, ..self.last })
    }
}

impl Rejected {
    pub(crate) fn log(self) {
        tracing::warn!(
            target: "pyproc::pool",
            rejected = self.count,
            queued = self.queued,
            in_flight = self.in_flight,
            ready_workers = self.ready,
            "queue full"
        );
    }
}
