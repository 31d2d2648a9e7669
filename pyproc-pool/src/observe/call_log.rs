//! The event `call completed`, in the span of the caller.

use std::time::Duration;

use tracing::Level;

use super::{
    CallOutcome,
    call_tracker::{CallSummary, CallTracker},
};
use crate::{Error, LogLevel, PoolConfig, events::event_at, text::LONGEST};

/// Which calls are logged at which level.
#[derive(Debug)]
pub(crate) struct CallLog {
    level: Option<Level>,
    slow: Option<Duration>,
}

/// A call that has ended.
pub(crate) struct Completed<'a> {
    pub(crate) method: &'a str,
    pub(crate) tracker: &'a CallTracker,
    pub(crate) seen: &'a CallSummary,
    pub(crate) outcome: &'a CallOutcome<'a>,
}

impl CallLog {
    pub(crate) fn new(config: &PoolConfig) -> Self {
        Self {
            level: config.call_log.into(),
            slow: Some(config.slow_call).filter(|slow| !slow.is_zero()),
        }
    }

    /// For a successful call this only compares times that are known already, unless a subscriber listens.
    #[inline]
    pub(crate) fn completed(&self, call: &Completed<'_>) {
        let Some(level) = self.level else {
            return;
        };
        let level = match call.outcome {
            CallOutcome::Success if self.is_slow(call) => level.min(Level::WARN),
            CallOutcome::Error(error) if is_alarming(error) => level.min(Level::WARN),
            _ => level,
        };
        if level <= tracing::level_filters::LevelFilter::current() {
            log(level, call);
        }
    }

    fn is_slow(&self, call: &Completed<'_>) -> bool {
        let (Some(slow), Some(answer)) = (self.slow, &call.seen.answer) else {
            return false;
        };
        answer.duration() >= slow
    }
}

/// A full pool rejects calls by the thousand, and has an event of its own for that.
fn is_alarming(error: &Error) -> bool {
    !matches!(
        error,
        Error::Overloaded { .. } | Error::ShutDown | Error::RuntimeEnded
    )
}

#[cold]
fn log(level: Level, call: &Completed<'_>) {
    let error = match call.outcome {
        CallOutcome::Error(error) => Some(*error),
        CallOutcome::Success | CallOutcome::Abandoned => None,
    };
    let status = match call.outcome {
        CallOutcome::Success => "success",
        CallOutcome::Abandoned => "abandoned",
        CallOutcome::Error(error) => status(error),
    };
    let span = call.tracker.span();
    event_at!(
        level,
        target: "pyproc::pool",
        function_name = call.method,
        worker_id = call.seen.worker,
        status,
        duration_ms = millis(call.tracker.duration(call.seen)),
        kind = error.map(|error| error.kind().as_str()),
        error = error.map(Error::without_bodies),
        exception = error.and_then(traceback),
        trace_id = span.map(|it| hex(&it.trace_id)),
        span_id = span.map(|it| hex(&it.span_id)),
        trace_flags = span.map(|it| hex(&[it.flags])),
        "call completed"
    );
}

fn status(error: &Error) -> &'static str {
    match error {
        Error::Remote(_) => "error",
        other => other.kind().as_str(),
    }
}

/// Rounded to the microsecond: further digits are noise.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// At most [`LONGEST`] bytes. The end is kept, because a traceback ends with the exception.
fn traceback(error: &Error) -> Option<&str> {
    let Error::Remote(exception) = error else {
        return None;
    };
    let text = exception.traceback.as_deref()?;
    let mut starts = text.len().saturating_sub(LONGEST)..=text.len();
    text.get(starts.find(|at| text.is_char_boundary(*at))?..)
}

impl From<LogLevel> for Option<Level> {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => None,
            LogLevel::Error => Some(Level::ERROR),
            LogLevel::Warn => Some(Level::WARN),
            LogLevel::Info => Some(Level::INFO),
            LogLevel::Debug => Some(Level::DEBUG),
            LogLevel::Trace => Some(Level::TRACE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_no_digits_beyond_the_microsecond() {
        for (nanos, expected) in [
            (0, "0.0"),
            (1_234_000, "1.234"),
            (1_234_499, "1.234"),
            (1_234_567, "1.235"),
            (45_000_000, "45.0"),
            (86_400_000_001_000, "86400000.001"),
        ] {
            assert_eq!(
                format!("{:?}", millis(Duration::from_nanos(nanos))),
                expected
            );
        }
        for micros in 0..100_000 {
            let text = millis(Duration::from_micros(micros)).to_string();
            let digits = text.split_once('.').map_or(0, |(_, digits)| digits.len());
            assert!(digits <= 3, "{text}");
        }
    }
}
