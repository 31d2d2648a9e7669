use pyproc_protocol::v2::telemetry::LogRecord;
use serde_json::{Map, Value};
use tracing::Level;

use super::structured;

/// One thing that was printed, ready to become an event.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) level: Level,
    /// The line said `CRITICAL`, for which there is no level.
    pub(crate) critical: bool,
    pub(crate) message: String,
    pub(crate) logger: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) exception: Option<String>,
    /// Nanoseconds since the Unix epoch.
    pub(crate) time: Option<u64>,
    pub(crate) ids: Ids,
    pub(crate) fields: Map<String, Value>,
}

/// W3C's ids of a span, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ids {
    pub(crate) trace_id: Option<String>,
    pub(crate) span_id: Option<String>,
    pub(crate) trace_flags: Option<String>,
}

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What is known of a line beside its text: nothing if it came through a pipe.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Context {
    /// Its id: while a worker is replaced, two of them print.
    pub(crate) process: Option<u32>,
    pub(crate) function: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) time: Option<u64>,
    pub(crate) ids: Ids,
    pub(crate) fields: Map<String, Value>,
}

impl Entry {
    /// Reads a line: JSON as logging libraries write it, the default format of Python's `logging`, or plain text.
    pub(crate) fn of_line(line: &str) -> Self {
        if let Some(entry) = structured::read(line) {
            return entry;
        }
        match structured::prefixed(line) {
            Some((severity, logger, message)) => Self {
                level: severity.level,
                critical: severity.critical,
                logger: Some(logger.into()),
                ..Self::plain(message)
            },
            None => Self::plain(line),
        }
    }

    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self {
            level: Level::INFO,
            critical: false,
            message: message.into(),
            logger: None,
            thread: None,
            exception: None,
            time: None,
            ids: Ids::default(),
            fields: Map::new(),
        }
    }
}

impl Stream {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Context {
    /// Whether a line of `other` may belong to the same traceback.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        (self.process, &self.thread, &self.ids) == (other.process, &other.thread, &other.ids)
    }

    pub(crate) fn of(record: &LogRecord, process: Option<u32>) -> Self {
        Self {
            process,
            function: record.function.clone(),
            thread: record.thread.clone(),
            time: Some(record.time),
            ids: record.into(),
            fields: beside_the_message(record),
        }
    }
}

impl From<&LogRecord> for Ids {
    fn from(record: &LogRecord) -> Self {
        Self {
            trace_id: record.trace_id.map(|id| id.to_string()),
            span_id: record.span_id.map(|id| id.to_string()),
            trace_flags: record.trace_flags.map(|flags| format!("{flags:02x}")),
        }
    }
}

/// The baggage of the call, and what the record brings itself, which counts more.
pub(crate) fn beside_the_message(record: &LogRecord) -> Map<String, Value> {
    let baggage = record.baggage.iter();
    let mut fields: Map<_, _> = baggage
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    fields.extend(record.fields.clone());
    if let Some(stack) = &record.stack {
        fields
            .entry("stack")
            .or_insert_with(|| stack.as_str().into());
    }
    fields
}
