use std::time::{Duration, Instant};

/// How many plain calls may be in flight at a worker.
///
/// A worker runs plain functions one after another, so a call that is dispatched early waits behind the ones before it,
/// even when another worker becomes free. So the pool dispatches no more calls than the worker answers within
/// [`HORIZON`]: many short calls, or few long ones, but always [`SHALLOW`], so that the next call is there when one
/// ends.
#[derive(Debug)]
pub(crate) struct Depth {
    max: usize,
    /// The horizon, and the least depth.
    ahead: (Duration, usize),
    /// Smoothed time between two answers while the worker is busy.
    per_answer: Option<Duration>,
    /// When the worker last answered, or became busy.
    since: Option<Instant>,
}

const HORIZON: Duration = Duration::from_millis(1);
const SHALLOW: usize = 2;

/// The horizon for a worker whose output is attributed to its calls: it has one call in flight, unless calls are
/// shorter than the pause between two calls would be.
const NEAR: Duration = Duration::from_micros(100);

impl Depth {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            ahead: (HORIZON, SHALLOW),
            per_answer: None,
            since: None,
        }
    }

    /// One call in flight, unless calls are very short.
    pub(crate) fn one_by_one(max: usize) -> Self {
        Self {
            ahead: (NEAR, 1),
            ..Self::new(max)
        }
    }

    pub(crate) fn get(&self) -> usize {
        let (horizon, shallow) = self.ahead;
        let shallow = shallow.min(self.max);
        let Some(per_answer) = self.per_answer else {
            return shallow;
        };
        let fits = horizon.as_nanos() / per_answer.as_nanos().max(1);
        usize::try_from(fits)
            .unwrap_or(self.max)
            .clamp(shallow, self.max)
    }

    /// An idle worker gets a call.
    pub(crate) fn on_busy(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// This number of answers arrived together.
    pub(crate) fn on_answers(&mut self, answers: u32, now: Instant) {
        let Some(since) = self.since.replace(now) else {
            return;
        };
        let sample = now.saturating_duration_since(since) / answers.max(1);
        self.per_answer = Some(match self.per_answer {
            Some(smoothed) => (smoothed * 7 + sample) / 8,
            None => sample,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The depth after 50 rounds in which `depth` answers come `each` apart.
    fn settled(max: usize, each: Duration) -> usize {
        settles(Depth::new(max), each)
    }

    fn settles(mut depth: Depth, each: Duration) -> usize {
        let mut now = Instant::now();
        depth.on_busy(now);
        for _ in 0..50 {
            let answers = depth.get() as u32;
            now += each * answers;
            depth.on_answers(answers, now);
        }
        depth.get()
    }

    #[test]
    fn a_new_worker_gets_two_calls() {
        assert_eq!(Depth::new(64).get(), 2);
    }

    #[test]
    fn short_calls_go_out_as_many_as_allowed() {
        assert_eq!(settled(64, Duration::from_micros(2)), 64);
    }

    #[test]
    fn long_calls_wait_in_the_pool() {
        assert_eq!(settled(64, Duration::from_millis(5)), 2);
    }

    #[test]
    fn calls_in_between_fill_a_millisecond() {
        assert_eq!(settled(64, Duration::from_micros(100)), 10);
    }

    #[test]
    fn the_limit_of_one_is_kept() {
        assert_eq!(Depth::new(1).get(), 1);
        assert_eq!(settled(1, Duration::from_micros(2)), 1);
    }

    #[test]
    fn one_by_one_only_very_short_calls_are_sent_ahead() {
        let settled = |micros| settles(Depth::one_by_one(64), Duration::from_micros(micros));
        assert_eq!(Depth::one_by_one(64).get(), 1);
        assert_eq!((settled(5000), settled(100), settled(10)), (1, 1, 10));
    }

    #[test]
    fn rest_does_not_count_as_work() {
        let mut depth = Depth::new(64);
        let mut now = Instant::now();
        for _ in 0..50 {
            now += Duration::from_secs(1);
            depth.on_busy(now);
            now += Duration::from_micros(20);
            depth.on_answers(1, now);
        }
        assert_eq!(depth.get(), 50);
    }
}
