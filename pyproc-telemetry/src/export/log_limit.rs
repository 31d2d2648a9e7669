use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// From one line in the log to the next of its kind.
const BETWEEN: Duration = Duration::from_secs(10);

/// Keeps what happens often from being said as often.
#[derive(Debug)]
pub(crate) struct Rarely(Mutex<Said>);

#[derive(Debug)]
struct Said {
    last: Option<Instant>,
    since: u64,
}

impl Rarely {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Said {
            last: None,
            since: 0,
        }))
    }

    /// It happened. If it is time to say so: how often it happened since that was said last.
    pub(crate) fn happened(&self) -> Option<u64> {
        self.happened_at(Instant::now())
    }

    fn happened_at(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.since += 1;
        let due = said.last.is_none_or(|last| now >= last + BETWEEN);
        due.then(|| {
            said.last = Some(now);
            std::mem::take(&mut said.since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_in_a_while_with_how_often_it_happened() {
        let (rarely, now) = (Rarely::new(), Instant::now());
        assert_eq!(rarely.happened_at(now), Some(1));
        for _ in 0..5 {
            assert_eq!(rarely.happened_at(now + BETWEEN / 2), None);
        }
        assert_eq!(rarely.happened_at(now + BETWEEN), Some(6));
    }
}
