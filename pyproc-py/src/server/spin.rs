//! Looking for messages for a while before sleeping: it saves the time that a sleeping thread takes
//! to wake.

use std::thread;
use std::time::{Duration, Instant};

use crate::package::Limits;

/// Spins while it pays, by the rule of `_spin.py`.
pub(crate) struct Spin {
    length: Duration,
    limits: Limits,
    misses: u32,
    rest: u32,
}

impl Spin {
    pub(crate) fn new(length: Duration, limits: Limits) -> Self {
        Self {
            length,
            limits,
            misses: 0,
            rest: 0,
        }
    }

    /// Looks again and again, for as long as a spin may take; whether `look` found something.
    pub(crate) fn spin(&mut self, mut look: impl FnMut() -> bool) -> bool {
        if self.length.is_zero() || self.rest > 0 {
            return false;
        }
        let start = Instant::now();
        while start.elapsed() < self.length {
            if look() {
                self.misses = 0;
                return true;
            }
            // The other end may need this very core to send anything.
            thread::yield_now();
        }
        self.misses += 1;
        if self.misses >= self.limits.spin_misses {
            (self.misses, self.rest) = (0, self.limits.spin_rest);
        }
        false
    }

    /// Something came while the worker slept.
    pub(crate) fn was_woken(&mut self) {
        self.rest = self.rest.saturating_sub(1);
    }
}
