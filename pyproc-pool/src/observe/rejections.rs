//! Calls that were refused, by the thousand when the pool is full: their number is said once a second.

use std::time::Instant;

use crate::output::Tally;

/// Those that nothing was said of yet.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    tally: Tally,
    last: Rejected,
}

/// So many calls, and how full the pool was at the last of them.
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

    /// When there is something to say.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        self.tally.due(now)
    }

    /// What to say, if it is time.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Rejected> {
        let count = self.tally.take(now)?;
        Some(Rejected { count, ..self.last })
    }

    /// The same at the end, when it is always time.
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
