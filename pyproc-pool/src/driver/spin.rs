use std::time::{Duration, Instant};

/// Decides whether to poll for the next message or to sleep.
///
/// Polling pays when the next message comes sooner than a sleeper wakes. After a few polls in a row without a message
/// there are no more, until a message comes so soon after the start of a sleep that polling would have found it.
#[derive(Debug)]
pub(crate) struct Spin {
    /// How long one poll lasts; zero for never.
    limit: Duration,
    /// When the current poll began.
    since: Option<Instant>,
    /// When a poll ended without a message, and the sleep began.
    asleep: Option<Instant>,
    misses: u32,
}

/// Polls in a row without a message, after which polling stops.
const MAX_MISSES: u32 = 4;

impl Spin {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            asleep: None,
            misses: 0,
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.limit.is_zero()
    }

    /// A message has arrived.
    pub(crate) fn on_message(&mut self, now: impl FnOnce() -> Instant) {
        if self.is_off() {
            return;
        }
        let would_have = |asleep: Instant| now().saturating_duration_since(asleep) < self.limit;
        if self.since.take().is_some() || self.asleep.take().is_some_and(would_have) {
            self.misses = 0;
        }
    }

    /// Nothing has arrived: whether to keep polling.
    pub(crate) fn should_spin(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.is_off() || self.asleep.is_some() {
            return false;
        }
        let now = now();
        if self.misses < MAX_MISSES {
            let since = *self.since.get_or_insert(now);
            if now.saturating_duration_since(since) < self.limit {
                return true;
            }
            self.misses += 1;
        }
        self.since = None;
        self.asleep = Some(now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);

    struct Clock(Instant, Spin);

    impl Clock {
        fn new(limit: Duration) -> Self {
            Self(Instant::now(), Spin::new(limit))
        }

        fn again_after(&mut self, micros: u64) -> bool {
            self.0 += Duration::from_micros(micros);
            self.1.should_spin(|| self.0)
        }

        fn catch_after(&mut self, micros: u64) {
            self.0 += Duration::from_micros(micros);
            self.1.on_message(|| self.0);
        }

        /// A poll without a message, and the start of a sleep.
        fn miss(&mut self) {
            while self.again_after(20) {}
        }
    }

    #[test]
    fn a_look_lasts_as_long_as_allowed() {
        let mut clock = Clock::new(LIMIT);
        assert!(clock.again_after(0) && clock.again_after(30));
        assert!(!clock.again_after(30));
        assert!(!clock.again_after(0), "asleep until something arrives");
    }

    #[test]
    fn looks_end_after_misses_and_begin_again_when_one_would_have_caught_something() {
        let mut clock = Clock::new(LIMIT);
        for _ in 0..MAX_MISSES {
            clock.miss();
            clock.catch_after(1000);
        }
        assert!(!clock.again_after(0), "no more looks");
        clock.catch_after(20);
        assert!(clock.again_after(0), "that one was near");
    }

    #[test]
    fn catches_keep_the_looks_going() {
        let mut clock = Clock::new(LIMIT);
        for _ in 0..100 {
            assert!(clock.again_after(0));
            clock.catch_after(30);
        }
    }

    #[test]
    fn zero_means_never() {
        let mut clock = Clock::new(Duration::ZERO);
        assert!(!clock.again_after(0));
        clock.catch_after(0);
        assert!(!clock.again_after(0));
    }
}
