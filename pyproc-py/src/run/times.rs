//! When a call began, and how long it ran.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pyproc_protocol::Times;

/// For so long, the time of day is computed from an earlier one. A change of the system's clock is noticed after this.
const REUSED_FOR: Duration = Duration::from_millis(10);

/// Starts the timers of calls. It seldom asks the system for the time of day.
#[derive(Default)]
pub(crate) struct CallClock {
    /// A time of day, and the instant at which it was read.
    last: Option<(Duration, Instant)>,
}

impl CallClock {
    /// A function begins.
    pub(crate) fn start(&mut self) -> CallTimer {
        let began = Instant::now();
        let computed = self.last.and_then(|(time, when)| {
            let since = began - when;
            (since < REUSED_FOR).then(|| time + since)
        });
        let start = computed.unwrap_or_else(|| self.read(began));
        CallTimer { start, began }
    }

    #[cold]
    fn read(&mut self, now: Instant) -> Duration {
        let time = time_of_day();
        self.last = Some((time, now));
        time
    }
}

/// Since the Unix epoch.
fn time_of_day() -> Duration {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.unwrap_or_default()
}

/// When a function began.
pub(crate) struct CallTimer {
    start: Duration,
    began: Instant,
}

impl CallTimer {
    /// The times of a call that ended at this instant.
    pub(crate) fn times(&self, ended: Instant) -> Times {
        Times {
            start: self.start,
            duration: ended - self.began,
        }
    }
}
