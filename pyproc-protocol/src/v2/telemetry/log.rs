use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{SpanId, TraceId, ids, is_default};
use crate::lenient;

/// A record of Python's `logging`, or of what a worker has in its place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogRecord {
    /// When it was made, in nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::integer")]
    pub time: u64,
    /// How severe it is, by Python's numbers: 10 debug, 20 info, 30 warning, 40 error, 50 critical, and any between.
    #[serde(deserialize_with = "lenient::integer")]
    pub level: u32,
    /// Name of the logger.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub logger: String,
    /// The message, with its arguments in place.
    pub message: String,
    /// `stdout` or `stderr`, where the message is a line that was printed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Name of the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// The exception with its traceback, formatted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// The stack, where the record asked for it, formatted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The exposed function in whose call it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The trace that was current.
    #[serde(
        default,
        deserialize_with = "ids::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub trace_id: Option<TraceId>,
    /// The span that was current.
    #[serde(
        default,
        deserialize_with = "ids::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub span_id: Option<SpanId>,
    /// W3C's trace flags of that span. On the wire two hexadecimal digits.
    #[serde(default, with = "ids::flags", skip_serializing_if = "Option::is_none")]
    pub trace_flags: Option<u8>,
    /// The source file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it.
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub line: Option<u32>,
    /// What the record carries beyond its message: the argument `extra` of Python's `logging`.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// The baggage of the call.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub baggage: BTreeMap<String, String>,
}
