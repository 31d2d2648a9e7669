//! Events with a time and a trace of their own: forwarded records of other processes, and events of calls.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{SpanId, TraceFlags, TraceId};
use tracing::{
    Event, Metadata,
    field::{Field, Visit},
};

use crate::trace_ids::Ids;

/// The targets of events that forward another process's log records or output.
const FORWARDED: [&str; 2] = ["pyproc::python", "pyproc::output"];

/// The target of events of calls, which may have a trace where no span is current.
const CALLS: &str = "pyproc::pool";

/// The field with a JSON object, whose members become fields of the line.
pub(crate) const FIELDS: &str = "fields";

/// The field with the time of the record.
pub(crate) const TIME: &str = "time_unix_nano";

pub(crate) fn is_forwarded(metadata: &Metadata<'_>) -> bool {
    FORWARDED.contains(&metadata.target())
}

pub(crate) fn time(unix_nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(unix_nanos)
}

/// An event's own time and trace, if it has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// A record of another process, which the current span does not concern.
    pub(crate) elsewhere: bool,
    pub(crate) time: Option<SystemTime>,
    pub(crate) ids: Option<Ids>,
}

impl Origin {
    /// `None` for an event of another target.
    pub(crate) fn of(event: &Event<'_>) -> Option<Self> {
        let elsewhere = is_forwarded(event.metadata());
        if !elsewhere && event.metadata().target() != CALLS {
            return None;
        }
        let mut fields = OriginFields::default();
        event.record(&mut fields);
        Some(Self {
            elsewhere,
            time: fields.time,
            ids: fields.ids(),
        })
    }

    /// Whether the head of the line has this field's value already.
    pub(crate) fn has_in_head(&self, name: &str) -> bool {
        match name {
            TIME => self.time.is_some(),
            "trace_id" | "span_id" | "trace_flags" => self.ids.is_some(),
            _ => false,
        }
    }
}

struct OriginFields {
    time: Option<SystemTime>,
    trace: Option<TraceId>,
    span: Option<SpanId>,
    /// Zero if the event has none, `None` if they are malformed.
    flags: Option<TraceFlags>,
}

impl Default for OriginFields {
    fn default() -> Self {
        Self {
            time: None,
            trace: None,
            span: None,
            flags: Some(TraceFlags::NOT_SAMPLED),
        }
    }
}

impl OriginFields {
    /// All or nothing, so that malformed ids stay on the line as fields.
    fn ids(&self) -> Option<Ids> {
        Ids::new(self.trace?, self.span?, self.flags?)
    }
}

impl Visit for OriginFields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == TIME {
            self.time = Some(time(value));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "trace_id" => self.trace = hex(value).map(TraceId::from_bytes),
            "span_id" => self.span = hex(value).map(SpanId::from_bytes),
            "trace_flags" => self.flags = hex(value).map(|[flags]| TraceFlags::new(flags)),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Decodes lower- or upper-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}
