//! The records of telemetry that a worker sends: log records, finished spans and metrics. Each is a line of JSON in a
//! telemetry frame. The specification is section 5 of [`spec_v2`](crate::spec_v2).
//!
//! ```
//! use bytes::Bytes;
//! use pyproc_protocol::v2::telemetry::{LostRecord, Record, decode_records};
//!
//! let mut lines = Vec::new();
//! let lost = Record::Lost(LostRecord { logs: 3, spans: 0 });
//! lost.encode_line(&mut lines);
//! lines.extend_from_slice(b"{\"type\":\"of a later release\"}\n{\"type\":\"log\"}\n");
//!
//! let mut records = decode_records(&lines);
//! assert_eq!(records.next().transpose()?, Some(lost));
//! assert!(records.next().is_some_and(|record| record.is_err()), "a log record has more members");
//! assert!(records.next().is_none());
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
    Aggregation, HistogramSeries, Labels, Metric, MetricData, MetricsRecord, Series,
    UnreadableMetric,
};
pub use span::{DroppedCounts, Scope, SpanEvent, SpanKind, SpanLink, SpanRecord, SpanStatus};

/// Maximum size in bytes of the records that our worker puts into one frame, unless a single record is larger.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// One record of telemetry.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Record {
    /// A record of Python's `logging`.
    Log(LogRecord),
    /// A finished span.
    Span(SpanRecord),
    /// Current values of counters, gauges and histograms.
    Metrics(MetricsRecord),
    /// Numbers of dropped records.
    Lost(LostRecord),
}

/// How many records a worker dropped since its last such record, because the client did not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LostRecord {
    /// Number of log records.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub logs: u64,
    /// Number of spans.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub spans: u64,
}

/// A line of a telemetry frame that is not a record. It counts as one lost record; the connection stays usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The line is not a JSON object with the expected members and types.
    #[error("the telemetry record of {len} bytes cannot be read: {source}")]
    Json {
        /// The line's size in bytes.
        len: usize,
        /// The cause, with the column.
        r#source: serde_json::Error,
    },
}

/// Decodes the payload of a telemetry frame, the bytes of [`ClientEvent::Telemetry`](crate::ClientEvent::Telemetry).
/// Ignores records of types that this crate does not know.
pub fn decode_records(payload: &[u8]) -> impl Iterator<Item = Result<Record, RecordError>> {
    payload
        .split(|byte| *byte == b'\n')
        .filter_map(|line| Record::decode_line(line).transpose())
}

/// Appends lines of records to `out` as one frame. On an error `out` is unchanged.
///
/// # Errors
///
/// If the frame is larger than `max_frame_size`.
pub fn encode_frame(
    lines: &[u8],
    max_frame_size: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encode::encode_telemetry(lines, max_frame_size, out)
}

impl Record {
    /// Decodes one line; `None` if it is blank, or its type is unknown. Single metrics that cannot be decoded are listed in
    /// [`MetricsRecord::unreadable`].
    ///
    /// # Errors
    ///
    /// If the line is not a record.
    pub fn decode_line(line: &[u8]) -> Result<Option<Self>, RecordError> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let record = match decode::<Head<'_>>(line)?.kind.as_ref() {
            "log" => Self::Log(decode(line)?),
            "span" => Self::Span(decode(line)?),
            "metrics" => {
                Self::Metrics(MetricsRecord::decode(line).map_err(|it| json_error(line, it))?)
            }
            "lost" => Self::Lost(decode(line)?),
            _ => return Ok(None),
        };
        Ok(Some(record))
    }

    /// Appends the record as a line.
    pub fn encode_line(&self, out: &mut Vec<u8>) {
        let start = out.len();
        match serde_json::to_writer(&mut *out, self) {
            Ok(()) => out.push(b'\n'),
            // Cannot happen: writing to memory does not fail, and all keys are texts.
            Err(_) => out.truncate(start),
        }
    }

    /// Whether these features ask for records of this type.
    pub fn is_enabled(&self, features: Features) -> bool {
        match self {
            Self::Log(_) => features.logs,
            Self::Span(_) => features.spans,
            Self::Metrics(_) => features.metrics,
            Self::Lost(_) => features.has_telemetry(),
        }
    }
}

/// The record's type. A line is parsed twice, first for its type: that is faster than to buffer its members until the
/// type is known.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

fn decode<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, RecordError> {
    serde_json::from_slice(line).map_err(|source| json_error(line, source))
}

fn json_error(line: &[u8], source: serde_json::Error) -> RecordError {
    let len = line.len();
    RecordError::Json { len, source }
}

/// For `skip_serializing_if`.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
