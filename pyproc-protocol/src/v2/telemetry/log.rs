use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{SpanId, TraceId, ids, is_default};
use crate::lenient;

/// A record of Python's `logging`, or of another worker's logging library.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogRecord {
    /// The time, in nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::integer")]
    pub time: u64,
    /// The severity on Python's scale: 10 debug, 20 info, 30 warning, 40 error, 50 critical, and any number between.
    #[serde(deserialize_with = "lenient::integer")]
    pub level: u32,
    /// The logger's name.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub logger: String,
    /// The message, with its arguments formatted.
    pub message: String,
    /// `stdout` or `stderr`, if the message is a line that was printed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The thread's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// The formatted exception with its traceback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// The formatted stack, if the record asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The exposed function that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The current trace.
    #[serde(
        default,
        deserialize_with = "ids::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub trace_id: Option<TraceId>,
    /// The current span.
    #[serde(
        default,
        deserialize_with = "ids::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub span_id: Option<SpanId>,
    /// W3C's trace flags of the current span. On the wire two hexadecimal digits.
    #[serde(default, with = "ids::flags", skip_serializing_if = "Option::is_none")]
    pub trace_flags: Option<u8>,
    /// The source file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in the source file.
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub line: Option<u32>,
    /// Additional fields: the argument `extra` of Python's `logging`.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// The call's baggage.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub baggage: BTreeMap<String, String>,
}
