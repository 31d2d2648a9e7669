//! What a worker saw: log records, finished spans and metrics, as the lines of a telemetry frame. The
//! specification is section 5 of [`spec_v2`](crate::spec_v2).
//!
//! ```
//! use bytes::Bytes;
//! use pyproc_protocol::v2::telemetry::{LostRecord, Record, records};
//!
//! let mut lines = Vec::new();
//! let lost = Record::Lost(LostRecord { logs: 3, spans: 0 });
//! lost.write_line(&mut lines);
//! lines.extend_from_slice(b"{\"type\":\"of a later release\"}\n{\"type\":\"log\"}\n");
//!
//! let mut read = records(&lines);
//! assert_eq!(read.next().transpose()?, Some(lost));
//! assert!(read.next().is_some_and(|record| record.is_err()), "a log record needs more than that");
//! assert!(read.next().is_none());
//! # Ok::<(), pyproc_protocol::v2::telemetry::RecordError>(())
//! ```

mod attributes;
mod ids;
mod log;
mod metrics;
mod span;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::encode;
use crate::{EncodeError, Features, lenient};

pub use attributes::{AttributeValue, Attributes};
pub use ids::{SpanId, TraceId};
pub use log::LogRecord;
pub use metrics::{
    Across, HistogramSeries, Labels, Metric, MetricData, MetricsRecord, Series, UnreadableMetric,
};
pub use span::{DroppedCounts, Scope, SpanEvent, SpanKind, SpanLink, SpanRecord, SpanStatus};

/// The most bytes of records that a worker of ours puts into one frame, unless one record alone is larger.
pub const MAX_FRAME_RECORDS: usize = 64 * 1024;

/// One thing that a worker saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Record {
    /// A record of Python's `logging`.
    Log(LogRecord),
    /// A span that has ended.
    Span(SpanRecord),
    /// Counters, gauges and histograms as they stand.
    Metrics(MetricsRecord),
    /// What the worker had to drop.
    Lost(LostRecord),
}

/// What a worker dropped since its last such record, because the client did not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LostRecord {
    /// Log records.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub logs: u64,
    /// Spans.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub spans: u64,
}

/// A line of a telemetry frame that is no record. It counts as lost; the connection is as good as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The line is no JSON object of the expected shape.
    #[error("the telemetry record of {len} bytes cannot be read: {source}")]
    Json {
        /// The line's size in bytes.
        len: usize,
        /// What is wrong, with the column.
        r#source: serde_json::Error,
    },
}

/// Reads the payload of a telemetry frame, the bytes of
/// [`Event::Telemetry`](crate::Event::Telemetry). Records of types that this crate does not know are
/// passed over.
pub fn records(payload: &[u8]) -> impl Iterator<Item = Result<Record, RecordError>> {
    payload
        .split(|byte| *byte == b'\n')
        .filter_map(|line| Record::read_line(line).transpose())
}

/// Appends lines of records to `out` as one frame. On an error `out` is as before.
///
/// # Errors
///
/// When the frame would be larger than `max_frame_size`.
pub fn write_frame(
    lines: &[u8],
    max_frame_size: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encode::telemetry(lines, max_frame_size, out)
}

impl Record {
    /// Reads one line; `None` when it is blank, or its type is unknown. Of metrics, those that cannot be read are listed
    /// in the [record](MetricsRecord::unreadable).
    ///
    /// # Errors
    ///
    /// When the line is no record.
    pub fn read_line(line: &[u8]) -> Result<Option<Self>, RecordError> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let read = match read::<Head<'_>>(line)?.kind.as_ref() {
            "log" => Self::Log(read(line)?),
            "span" => Self::Span(read(line)?),
            "metrics" => {
                Self::Metrics(MetricsRecord::read(line).map_err(|it| no_record(line, it))?)
            }
            "lost" => Self::Lost(read(line)?),
            _ => return Ok(None),
        };
        Ok(Some(read))
    }

    /// Appends the record as a line.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let start = out.len();
        match serde_json::to_writer(&mut *out, self) {
            Ok(()) => out.push(b'\n'),
            // Writing to memory does not fail, and all keys are texts.
            Err(_) => out.truncate(start),
        }
    }

    /// Whether a client with these features takes such a record.
    pub fn is_wanted(&self, features: Features) -> bool {
        match self {
            Self::Log(_) => features.logs,
            Self::Span(_) => features.spans,
            Self::Metrics(_) => features.metrics,
            Self::Lost(_) => features.has_telemetry(),
        }
    }
}

/// Reads a line once for its type, which costs less than to keep the rest until the type is known.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, RecordError> {
    serde_json::from_slice(line).map_err(|source| no_record(line, source))
}

fn no_record(line: &[u8], source: serde_json::Error) -> RecordError {
    let len = line.len();
    RecordError::Json { len, source }
}

/// For `skip_serializing_if`.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
