//! Wall-clock times of calls. A call's start is a monotonic [`Instant`]; a recent sample of both clocks converts it, so
//! that most calls read only one clock.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime},
};

/// How long a sample is valid. A wall clock that is set takes effect within this time.
const VALID_FOR: Duration = Duration::from_millis(10);

/// Attempts for one sample. The fastest counts, as a pause between the two clocks makes a sample wrong.
const SAMPLES: usize = 3;

/// An instant. Its wall-clock time is computed on demand.
pub(super) struct Start {
    at: Instant,
    by: ClockSample,
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
struct ClockSample {
    instant: Instant,
    time: SystemTime,
    /// The end of its validity.
    until: Instant,
}

thread_local! {
    static LATEST: Cell<Option<ClockSample>> = const { Cell::new(None) };
}

impl Start {
    /// A start in the near future.
    pub(super) fn soon() -> Self {
        let by = LATEST.get().unwrap_or_else(ClockSample::sample);
        Self { at: by.instant, by }
    }

    /// Sets the instant, which has just passed.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
        if !self.by.covers(at) {
            let latest = LATEST.get().filter(|it| it.covers(at));
            self.by = latest.unwrap_or_else(ClockSample::sample);
        }
    }

    pub(super) fn time_of_day(&self) -> SystemTime {
        self.by.time_at(self.at)
    }
}

impl ClockSample {
    /// Takes a new sample for this thread.
    #[cold]
    fn sample() -> Self {
        let now = Self::now();
        LATEST.set(Some(now));
        now
    }

    fn now() -> Self {
        let sample = || {
            let instant = Instant::now();
            let time = SystemTime::now();
            let until = instant + VALID_FOR;
            let moment = Self {
                instant,
                time,
                until,
            };
            (instant.elapsed(), moment)
        };
        let [first, others @ ..] = [(); SAMPLES].map(|()| sample());
        let best = others
            .into_iter()
            .fold(first, |best, one| match one.0 < best.0 {
                true => one,
                false => best,
            });
        best.1
    }

    fn covers(&self, at: Instant) -> bool {
        self.instant <= at && at < self.until
    }

    fn time_at(&self, at: Instant) -> SystemTime {
        match at.checked_duration_since(self.instant) {
            Some(later) => self.time + later,
            None => self.time - self.instant.duration_since(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_keep_the_distances_of_moments() {
        let now = ClockSample::now();
        let second = Duration::from_secs(1);
        assert_eq!(now.time_at(now.instant), now.time);
        assert_eq!(now.time_at(now.instant + second), now.time + second);
        assert_eq!(now.time_at(now.instant - second), now.time - second);
    }

    #[test]
    fn a_start_has_the_time_of_day_of_its_moment_however_old_the_latest_look_is() {
        let mut start = Start::soon();
        let old = start.by;
        for age in [Duration::ZERO, VALID_FOR / 2, VALID_FOR, 100 * VALID_FOR] {
            let at = old.instant + age;
            start.set(at);
            assert_eq!(start.by.covers(old.instant), age < VALID_FOR);
            assert_eq!(start.time_of_day(), start.by.time_at(at));
        }
    }

    #[test]
    fn a_look_tells_what_is_soon_after_it_and_nothing_before() {
        let now = ClockSample::now();
        assert!(now.covers(now.instant));
        assert!(!now.covers(now.instant + VALID_FOR));
        assert!(!now.covers(now.instant - Duration::from_nanos(1)));
    }
}
