//! The time of day by the pool's clock: calls say when they began by that, and need not look at another one.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime},
};

/// How long a look at both clocks tells later times: as long as a time of day that is set may be off.
const TELLS: Duration = Duration::from_millis(10);

/// Looks of which the one counts that took least: a pause in it makes it wrong.
const LOOKS: usize = 3;

/// One moment by both clocks.
#[derive(Clone, Copy)]
struct Moment {
    instant: Instant,
    time: SystemTime,
}

thread_local! {
    static LATEST: Cell<Option<Moment>> = const { Cell::new(None) };
}

/// The time of day `at` a moment that has just been.
pub(super) fn time_of_day(at: Instant) -> SystemTime {
    let latest = LATEST.get().filter(|it| it.tells(at));
    let moment = latest.unwrap_or_else(|| {
        let now = Moment::now();
        LATEST.set(Some(now));
        now
    });
    moment.time_at(at)
}

impl Moment {
    fn now() -> Self {
        let look = || {
            let instant = Instant::now();
            let time = SystemTime::now();
            (instant.elapsed(), Self { instant, time })
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
        at.checked_duration_since(self.instant)
            .is_some_and(|age| age < TELLS)
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
    fn a_look_tells_what_is_soon_after_it_and_nothing_before() {
        let now = Moment::now();
        assert!(now.tells(now.instant));
        assert!(!now.tells(now.instant + TELLS));
        assert!(!now.tells(now.instant - Duration::from_nanos(1)));
    }
}
