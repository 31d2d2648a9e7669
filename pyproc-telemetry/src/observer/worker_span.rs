//! Spans that OpenTelemetry in Python made in a worker. What must stay true: a span takes bounded memory, whatever a
//! worker sends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{
    Array, InstrumentationScope, KeyValue, SpanId, StringValue, TraceId, Value,
    trace::{Event, Link, SpanContext, SpanKind, Status, TraceFlags, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use pyproc_pool::protocol::v2::telemetry::{
    AttributeValue, Attributes, Scope, SpanEvent, SpanKind as Kind, SpanLink, SpanRecord,
    SpanStatus,
};

use crate::{SpanLimits, text::truncated};

const MAX_NAME: usize = 256;
/// The longest trace state. The standard asks to propagate at least 512 bytes.
const MAX_STATE: usize = 1024;
/// The longest text.
const MAX_TEXT: usize = 16 * 1024;
/// All texts of one span. Spans wait in memory, and a worker may send a whole frame.
const MAX_TEXTS: usize = 64 * 1024;

/// The span as an exporter takes it. `None` if it is refused: it is not sampled, has no parent, or ends before its
/// start.
pub(super) fn ended(record: SpanRecord, pid: Option<u32>, limits: &SpanLimits) -> Option<SpanData> {
    let flags = TraceFlags::new(record.trace_flags);
    if !flags.is_sampled() || record.end < record.start {
        return None;
    }
    let parent = record.parent_span_id?;
    let mut budget = SizeBudget {
        bytes: MAX_TEXTS,
        limits: *limits,
    };
    let (mut attributes, left_out) = budget.attributes(record.attributes);
    attributes.extend(pid.map(|pid| KeyValue::new("process.pid", i64::from(pid))));
    Some(SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(record.trace_id.to_bytes()),
            SpanId::from_bytes(record.span_id.to_bytes()),
            flags,
            false,
            trace_state(&record.trace_state),
        ),
        parent_span_id: SpanId::from_bytes(parent.to_bytes()),
        parent_span_is_remote: false,
        span_kind: kind(record.kind),
        name: truncated(&record.name, MAX_NAME).to_owned().into(),
        start_time: time(record.start),
        end_time: time(record.end),
        attributes,
        dropped_attributes_count: record.dropped.attributes.saturating_add(left_out),
        events: budget.events(record.events, record.dropped.events),
        links: budget.links(record.links, record.dropped.links),
        status: match record.status {
            SpanStatus::Unset => Status::Unset,
            SpanStatus::Ok => Status::Ok,
            SpanStatus::Error { description } => {
                Status::error(truncated(&description, MAX_TEXT).to_owned())
            }
        },
        instrumentation_scope: budget.scope(record.scope),
    })
}

/// The rest of a span's size limits.
struct SizeBudget {
    bytes: usize,
    limits: SpanLimits,
}

impl SizeBudget {
    /// The attributes within the limits, and the number of others.
    fn attributes(&mut self, attributes: Attributes) -> (Vec<KeyValue>, u32) {
        let given = attributes.len();
        let limit = self.limits.attributes as usize;
        let mut kept = Vec::with_capacity(given.min(limit));
        for (name, value) in attributes.into_iter().take(limit) {
            let value = value_of(value);
            let size = name.len() + size_of(&value);
            if name.len() <= MAX_NAME && size <= self.bytes {
                self.bytes -= size;
                kept.push(KeyValue::new(name, value));
            }
        }
        let left_out = given - kept.len();
        (kept, u32::try_from(left_out).unwrap_or(u32::MAX))
    }

    fn events(&mut self, events: Vec<SpanEvent>, dropped: u32) -> SpanEvents {
        let limit = self.limits.events as usize;
        let over = events.len().saturating_sub(limit);
        let mut kept = SpanEvents::default();
        for event in events.into_iter().take(limit) {
            let (attributes, left_out) = self.attributes(event.attributes);
            let name = truncated(&event.name, MAX_NAME).to_owned();
            let event = Event::new(name, time(event.time), attributes, left_out);
            kept.events.push(event);
        }
        kept.dropped_count = dropped.saturating_add(u32::try_from(over).unwrap_or(u32::MAX));
        kept
    }

    fn links(&mut self, links: Vec<SpanLink>, dropped: u32) -> SpanLinks {
        let limit = self.limits.links as usize;
        let over = links.len().saturating_sub(limit);
        let mut kept = SpanLinks::default();
        for link in links.into_iter().take(limit) {
            let (attributes, left_out) = self.attributes(link.attributes);
            let context = SpanContext::new(
                TraceId::from_bytes(link.trace_id.to_bytes()),
                SpanId::from_bytes(link.span_id.to_bytes()),
                TraceFlags::new(link.trace_flags),
                true,
                trace_state(&link.trace_state),
            );
            kept.links.push(Link::new(context, attributes, left_out));
        }
        kept.dropped_count = dropped.saturating_add(u32::try_from(over).unwrap_or(u32::MAX));
        kept
    }

    fn scope(&mut self, scope: Scope) -> InstrumentationScope {
        let text = |text: &str| truncated(text, MAX_NAME).to_owned();
        let mut built = InstrumentationScope::builder(text(&scope.name));
        if !scope.version.is_empty() {
            built = built.with_version(text(&scope.version));
        }
        if !scope.schema_url.is_empty() {
            built = built.with_schema_url(text(&scope.schema_url));
        }
        built
            .with_attributes(self.attributes(scope.attributes).0)
            .build()
    }
}

/// Converts attributes to those of OpenTelemetry.
pub(super) fn key_values(attributes: Attributes) -> Vec<KeyValue> {
    let limits = SpanLimits::default();
    let mut budget = SizeBudget {
        bytes: MAX_TEXTS,
        limits,
    };
    budget.attributes(attributes).0
}

fn value_of(value: AttributeValue) -> Value {
    match value {
        AttributeValue::Bool(it) => it.into(),
        AttributeValue::Int(it) => it.into(),
        AttributeValue::Float(it) => it.into(),
        AttributeValue::Text(it) => text(it).into(),
        AttributeValue::Bools(it) => Value::Array(Array::Bool(it)),
        AttributeValue::Ints(it) => Value::Array(Array::I64(it)),
        AttributeValue::Floats(it) => Value::Array(Array::F64(it)),
        AttributeValue::Texts(it) => {
            Value::Array(Array::String(it.into_iter().map(text).collect()))
        }
        // A type of a later protocol version.
        _ => Value::from(""),
    }
}

fn text(mut text: String) -> StringValue {
    text.truncate(truncated(&text, MAX_TEXT).len());
    text.into()
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::String(it) => it.as_str().len(),
        Value::Array(Array::Bool(it)) => it.len(),
        Value::Array(Array::I64(it)) => 8 * it.len(),
        Value::Array(Array::F64(it)) => 8 * it.len(),
        Value::Array(Array::String(it)) => it.iter().map(|it| 8 + it.as_str().len()).sum(),
        _ => 8,
    }
}

fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    }
}

/// A malformed or overlong state is left out, and the span is kept.
fn trace_state(text: &str) -> TraceState {
    match text.len() <= MAX_STATE {
        true => text.parse().unwrap_or_default(),
        false => TraceState::default(),
    }
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}
