use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Attributes, SpanId, TraceId, attributes, ids, is_default};
use crate::lenient;

/// A finished span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanRecord {
    /// The trace's id.
    pub trace_id: TraceId,
    /// The span's id.
    pub span_id: SpanId,
    /// The parent's id; a root has none.
    #[serde(
        default,
        deserialize_with = "ids::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub parent_span_id: Option<SpanId>,
    /// W3C's trace flags. The lowest bit is set if the trace is sampled.
    #[serde(default = "sampled", deserialize_with = "ids::flags::or_sampled")]
    pub trace_flags: u8,
    /// W3C's trace state; may be empty.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub trace_state: String,
    /// Its name.
    pub name: String,
    /// The span's role between processes.
    #[serde(default, deserialize_with = "kind")]
    pub kind: SpanKind,
    /// The start, in nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::integer")]
    pub start: u64,
    /// The end, in nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::integer")]
    pub end: u64,
    /// The attributes.
    #[serde(
        default,
        deserialize_with = "attributes::lenient",
        skip_serializing_if = "Attributes::is_empty"
    )]
    pub attributes: Attributes,
    /// The events, such as exceptions.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub events: Vec<SpanEvent>,
    /// Links to related spans.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub links: Vec<SpanLink>,
    /// Whether the operation succeeded.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub status: SpanStatus,
    /// The instrumentation that created it.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub scope: Scope,
    /// The process's resource. Without one, the receiver uses its own resource for the worker.
    #[serde(
        default,
        deserialize_with = "attributes::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub resource: Option<Attributes>,
    /// How much the span's limits left out.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub dropped: DroppedCounts,
}

fn sampled() -> u8 {
    1
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SpanKind, D::Error> {
    let kind: u8 = lenient::integer_or_default(deserializer)?;
    SpanKind::try_from(kind).map_err(de::Error::custom)
}

/// The role of a span between processes. On the wire a number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum SpanKind {
    /// An operation within a process: 0.
    #[default]
    Internal,
    /// Handles a request: 1.
    Server,
    /// Sends a request: 2.
    Client,
    /// Sends a message: 3.
    Producer,
    /// Receives a message: 4.
    Consumer,
}

impl From<SpanKind> for u8 {
    fn from(kind: SpanKind) -> Self {
        kind as Self
    }
}

impl TryFrom<u8> for SpanKind {
    type Error = String;

    fn try_from(kind: u8) -> Result<Self, String> {
        match kind {
            0 => Ok(Self::Internal),
            1 => Ok(Self::Server),
            2 => Ok(Self::Client),
            3 => Ok(Self::Producer),
            4 => Ok(Self::Consumer),
            other => Err(format!("kinds of spans go from 0 to 4, this is {other}")),
        }
    }
}

/// An event at one time within a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// Its name.
    pub name: String,
    /// The time, in nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::integer")]
    pub time: u64,
    /// The attributes.
    #[serde(
        default,
        deserialize_with = "attributes::lenient",
        skip_serializing_if = "Attributes::is_empty"
    )]
    pub attributes: Attributes,
}

/// A link to a related span, possibly of another trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanLink {
    /// The related span's trace.
    pub trace_id: TraceId,
    /// The related span's id.
    pub span_id: SpanId,
    /// The related span's trace flags.
    #[serde(default, deserialize_with = "ids::flags::or_none")]
    pub trace_flags: u8,
    /// The related span's trace state; may be empty.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub trace_state: String,
    /// The attributes.
    #[serde(
        default,
        deserialize_with = "attributes::lenient",
        skip_serializing_if = "Attributes::is_empty"
    )]
    pub attributes: Attributes,
}

/// Whether the operation of a span succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "WireStatus", into = "WireStatus")]
pub enum SpanStatus {
    /// Not known: 0.
    #[default]
    Unset,
    /// It succeeded: 1.
    Ok,
    /// It failed: 2.
    Error {
        /// The reason; may be empty.
        description: String,
    },
}

/// A status on the wire.
#[derive(Serialize, Deserialize)]
struct WireStatus {
    #[serde(deserialize_with = "lenient::integer")]
    code: u8,
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    description: String,
}

impl From<SpanStatus> for WireStatus {
    fn from(status: SpanStatus) -> Self {
        let (code, description) = match status {
            SpanStatus::Unset => (0, String::new()),
            SpanStatus::Ok => (1, String::new()),
            SpanStatus::Error { description } => (2, description),
        };
        Self { code, description }
    }
}

impl TryFrom<WireStatus> for SpanStatus {
    type Error = String;

    fn try_from(status: WireStatus) -> Result<Self, String> {
        match status.code {
            0 => Ok(Self::Unset),
            1 => Ok(Self::Ok),
            2 => Ok(Self::Error {
                description: status.description,
            }),
            other => Err(format!("a status is 0, 1 or 2, this is {other}")),
        }
    }
}

/// The instrumentation scope of OpenTelemetry: the library that created a span.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// The name, often a module's.
    #[serde(deserialize_with = "lenient::or_default")]
    pub name: String,
    /// The version; may be empty.
    #[serde(
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub version: String,
    /// The schema of its attributes; may be empty.
    #[serde(
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub schema_url: String,
    /// The attributes.
    #[serde(
        deserialize_with = "attributes::lenient",
        skip_serializing_if = "Attributes::is_empty"
    )]
    pub attributes: Attributes,
}

/// How much the limits of a span left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DroppedCounts {
    /// Number of attributes.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub attributes: u32,
    /// Number of events.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub events: u32,
    /// Number of links.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub links: u32,
}
