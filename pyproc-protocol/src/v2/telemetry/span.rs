use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Attributes, SpanId, TraceId, attributes, ids, is_default};
use crate::lenient;

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanRecord {
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that it is part of; a root has none.
    #[serde(
        default,
        deserialize_with = "ids::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub parent_span_id: Option<SpanId>,
    /// W3C's trace flags; the lowest bit says that the trace is sampled.
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
    /// Its role between processes.
    #[serde(default, deserialize_with = "kind")]
    pub kind: SpanKind,
    /// When it began, in nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::integer")]
    pub start: u64,
    /// When it ended, in nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::integer")]
    pub end: u64,
    /// What is said of it.
    #[serde(
        default,
        deserialize_with = "attributes::lenient",
        skip_serializing_if = "Attributes::is_empty"
    )]
    pub attributes: Attributes,
    /// What happened in it.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub events: Vec<SpanEvent>,
    /// Spans elsewhere that it has to do with.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub links: Vec<SpanLink>,
    /// Whether it succeeded.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub status: SpanStatus,
    /// Who made it.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "is_default"
    )]
    pub scope: Scope,
    /// The process that made it, if that process says; else the receiver's own idea of the worker stands.
    #[serde(
        default,
        deserialize_with = "attributes::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub resource: Option<Attributes>,
    /// What its limits left out.
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
    /// Within a process: 0.
    #[default]
    Internal,
    /// Answers a request: 1.
    Server,
    /// Makes a request: 2.
    Client,
    /// Puts a message on its way: 3.
    Producer,
    /// Takes a message: 4.
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

/// Something that happened in a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// Its name.
    pub name: String,
    /// When, in nanoseconds since the Unix epoch.
    #[serde(deserialize_with = "lenient::integer")]
    pub time: u64,
    /// What is said of it.
    #[serde(
        default,
        deserialize_with = "attributes::lenient",
        skip_serializing_if = "Attributes::is_empty"
    )]
    pub attributes: Attributes,
}

/// A span elsewhere, and what it has to do with this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanLink {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// Its trace flags.
    #[serde(default, deserialize_with = "ids::flags::or_none")]
    pub trace_flags: u8,
    /// Its trace state; may be empty.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub trace_state: String,
    /// What is said of it.
    #[serde(
        default,
        deserialize_with = "attributes::lenient",
        skip_serializing_if = "Attributes::is_empty"
    )]
    pub attributes: Attributes,
}

/// Whether what a span stands for succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Status", into = "Status")]
pub enum SpanStatus {
    /// Nobody said so: 0.
    #[default]
    Unset,
    /// It did: 1.
    Ok,
    /// It did not: 2.
    Error {
        /// Why; may be empty.
        description: String,
    },
}

/// A status as it is on the wire.
#[derive(Serialize, Deserialize)]
struct Status {
    #[serde(deserialize_with = "lenient::integer")]
    code: u8,
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    description: String,
}

impl From<SpanStatus> for Status {
    fn from(status: SpanStatus) -> Self {
        let (code, description) = match status {
            SpanStatus::Unset => (0, String::new()),
            SpanStatus::Ok => (1, String::new()),
            SpanStatus::Error { description } => (2, description),
        };
        Self { code, description }
    }
}

impl TryFrom<Status> for SpanStatus {
    type Error = String;

    fn try_from(status: Status) -> Result<Self, String> {
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

/// The part of a program that made a span: OpenTelemetry's instrumentation scope.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// Its name, often a module's.
    #[serde(deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Its version; may be empty.
    #[serde(
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub version: String,
    /// The conventions that its attributes follow; may be empty.
    #[serde(
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub schema_url: String,
    /// What is said of it.
    #[serde(
        deserialize_with = "attributes::lenient",
        skip_serializing_if = "Attributes::is_empty"
    )]
    pub attributes: Attributes,
}

/// How much a span's limits left out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DroppedCounts {
    /// Attributes.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub attributes: u32,
    /// Events.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub events: u32,
    /// Links.
    #[serde(deserialize_with = "lenient::integer_or_default")]
    pub links: u32,
}
