//! Bounds how many events are logged.

use std::{
    mem,
    time::{Duration, Instant},
};

/// A token bucket: a number of events a second on average, and a second's worth at once. An event of more than a KiB
/// counts once more for each further KiB, so that bytes are bounded, too.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

const KIB: usize = 1024;

impl Rate {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            tokens: per_second,
            filled: now,
        }
    }

    /// Whether one more event, of `size` bytes, is within the rate. A large event is admitted if a small one would be,
    /// and delays those after it.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let has_one = !self.is_empty(now);
        if has_one {
            self.tokens -= (1 + bytes / KIB) as f64;
        }
        has_one
    }

    /// Whether one more event would exceed the rate.
    pub(crate) fn is_empty(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second);
        self.tokens < 1.0
    }
}

/// Counts what happens too often for an event each. One event a second has the count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    last: Option<Instant>,
    count: u64,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Tally {
    pub(crate) fn add(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
    }

    /// When the next event is due.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        (self.count > 0).then(|| self.last.map_or(now, |last| last + PAUSE))
    }

    /// The count since the last event, if another is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        if self.due(now)? > now {
            return None;
        }
        self.take_all(now)
    }

    /// The same at the end, when an event is always due.
    pub(crate) fn take_all(&mut self, now: Instant) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        self.last = Some(now);
        Some(mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_available_at_once_and_then_comes_back_in_a_second() {
        let begin = Instant::now();
        let mut rate = Rate::new(100, begin);
        let taken = |rate: &mut Rate, at| (0..1000).filter(|_| rate.take(100, at)).count();
        assert_eq!(taken(&mut rate, begin), 100);
        assert_eq!(taken(&mut rate, begin), 0);
        assert_eq!(taken(&mut rate, begin + Duration::from_millis(500)), 50);
        assert_eq!(taken(&mut rate, begin + Duration::from_secs(60)), 100);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let begin = Instant::now();
        let mut rate = Rate::new(100, begin);
        let taken = |rate: &mut Rate, at| (0..1000).filter(|_| rate.take(9 * KIB, at)).count();
        assert_eq!(taken(&mut rate, begin), 10);
        assert_eq!(taken(&mut rate, begin + Duration::from_secs(1)), 10);
        // One is taken however large it is, and paid for later.
        let mut rate = Rate::new(1, begin);
        assert!(rate.take(64 * KIB, begin));
        assert!(!rate.take(0, begin + Duration::from_secs(60)));
        assert!(rate.take(0, begin + Duration::from_secs(65)));
    }

    #[test]
    fn what_happens_often_is_logged_once_a_second_with_its_count() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let later = |millis| now + Duration::from_millis(millis);
        assert_eq!((tally.due(now), tally.take(now)), (None, None));
        tally.add(1);
        assert_eq!(tally.take(now), Some(1));
        tally.add(5);
        assert_eq!(tally.due(now), Some(later(1000)));
        assert_eq!(tally.take(later(999)), None);
        tally.add(2);
        assert_eq!(tally.take(later(1000)), Some(7));
        tally.add(3);
        assert_eq!(tally.take_all(later(1001)), Some(3));
    }
}
