use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The shortest time between two log lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// A rate limit for log lines about frequent events: one line for each interval, with the number of events.
#[derive(Debug)]
pub(crate) struct LogLimit(Mutex<Window>);

#[derive(Debug)]
struct Window {
    last: Option<Instant>,
    events: u64,
}

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Window {
            last: None,
            events: 0,
        }))
    }

    /// Counts an event. Returns the number of events since the last log line, if another line is due.
    pub(crate) fn record_event(&self) -> Option<u64> {
        self.record_event_at(Instant::now())
    }

    fn record_event_at(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.events += 1;
        let due = window.last.is_none_or(|last| now >= last + INTERVAL);
        due.then(|| {
            window.last = Some(now);
            std::mem::take(&mut window.events)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_once_in_an_interval_with_the_number_of_events() {
        let (limit, now) = (LogLimit::new(), Instant::now());
        assert_eq!(limit.record_event_at(now), Some(1));
        for _ in 0..5 {
            assert_eq!(limit.record_event_at(now + INTERVAL / 2), None);
        }
        assert_eq!(limit.record_event_at(now + INTERVAL), Some(6));
    }
}
