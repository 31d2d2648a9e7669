//! Polls again and again for a short time before the thread sleeps, which saves the time that a sleeping thread takes
//! to wake.

use std::thread;
use std::time::{Duration, Instant};

use crate::package::Limits;

/// Spins as long as it pays off, by the rule of `_loop.spin`.
pub(super) struct Spin {
    duration: Duration,
    limits: Limits,
    misses: u32,
    rest: u32,
}

impl Spin {
    pub(super) fn new(duration: Duration, limits: Limits) -> Self {
        Self {
            duration,
            limits,
            misses: 0,
            rest: 0,
        }
    }

    /// Calls `check` until it returns true or the time is over. Returns whether it returned true.
    pub(super) fn spin(&mut self, mut check: impl FnMut() -> bool) -> bool {
        if self.duration.is_zero() || self.rest > 0 {
            return false;
        }
        let start = Instant::now();
        while start.elapsed() < self.duration {
            if check() {
                self.misses = 0;
                return true;
            }
            // The client may need this CPU to send anything.
            thread::yield_now();
        }
        self.misses += 1;
        if self.misses >= self.limits.spin_misses {
            (self.misses, self.rest) = (0, self.limits.spin_rest);
        }
        false
    }

    /// An event came while the thread slept.
    pub(super) fn on_woken(&mut self) {
        self.rest = self.rest.saturating_sub(1);
    }
}
