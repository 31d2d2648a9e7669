//! The time of day by the pool's clock: calls say when they began by that, and need not look at another one.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime},
};

/// How long a look at both clocks tells later times: as long as a time of day that is set may be off.
const TELLS: Duration = Duration::from_millis(10);

/// Looks of which the one counts that took least: a pause in it makes it wrong.
const LOOKS: usize = 3;

/// A moment whose time of day is worked out when somebody asks.
pub(super) struct Start {
    at: Instant,
    by: Moment,
}

/// One moment by both clocks.
#[derive(Clone, Copy)]
struct Moment {
    instant: Instant,
    time: SystemTime,
    /// It tells moments before this one.
    until: Instant,
}

thread_local! {
    static LATEST: Cell<Option<Moment>> = const { Cell::new(None) };
}

impl Start {
    /// Ready for a moment that is to come soon.
    pub(super) fn soon() -> Self {
        let by = LATEST.get().unwrap_or_else(Moment::look);
        Self { at: by.instant, by }
    }

    /// It is one that has just been.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
        if !self.by.tells(at) {
            let latest = LATEST.get().filter(|it| it.tells(at));
            self.by = latest.unwrap_or_else(Moment::look);
        }
    }

    pub(super) fn time_of_day(&self) -> SystemTime {
        self.by.time_at(self.at)
    }
}

impl Moment {
    /// A look for this thread.
    #[cold]
    fn look() -> Self {
        let now = Self::now();
        LATEST.set(Some(now));
        now
    }

    fn now() -> Self {
        let look = || {
            let instant = Instant::now();
            let time = SystemTime::now();
            let until = instant + TELLS;
            let moment = Self {
                instant,
                time,
                until,
            };
            (instant.elapsed(), moment)
        };
        let [first, others @ ..] = [(); LOOKS].map(|()| look());
        let best = others
            .into_iter()
            .fold(first, |best, one| match one.0 < best.0 {
                true => one,
                false => best,
            });
        best.1
    }

    fn tells(&self, at: Instant) -> bool {
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
        let now = Moment::now();
        let second = Duration::from_secs(1);
        assert_eq!(now.time_at(now.instant), now.time);
        assert_eq!(now.time_at(now.instant + second), now.time + second);
        assert_eq!(now.time_at(now.instant - second), now.time - second);
    }

    #[test]
    fn a_start_has_the_time_of_day_of_its_moment_however_old_the_latest_look_is() {
        let mut start = Start::soon();
        let old = start.by;
        for age in [Duration::ZERO, TELLS / 2, TELLS, 100 * TELLS] {
            let at = old.instant + age;
            start.set(at);
            assert_eq!(start.by.tells(old.instant), age < TELLS);
            assert_eq!(start.time_of_day(), start.by.time_at(at));
        }
    }

    #[test]
    fn a_look_tells_what_is_soon_after_it_and_nothing_before() {
        let now = Moment::now();
        assert!(now.tells(now.instant));
        assert!(!now.tells(now.instant + TELLS));
        assert!(!now.tells(now.instant - Duration::from_nanos(1)));
    }
}
