//! Events that say themselves when and in which trace they happened, above all records of other
//! processes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{SpanId, TraceFlags, TraceId};
use tracing::{
    Event, Metadata,
    field::{Field, Visit},
};

use crate::trace_ids::Ids;

/// The targets of events that hand on what another process logged or printed.
const HANDED_ON: [&str; 2] = ["pyproc::python", "pyproc::output"];

/// The target of events about calls, which may be traced where no span is current.
const CALLS: &str = "pyproc::pool";

/// The field whose JSON object is spread over the line.
pub(crate) const FIELDS: &str = "fields";

/// Where a record of another process comes from. Only the event itself says that, and no member of [`FIELDS`].
pub(crate) const PLACE: &[&str] = &[
    "worker_id",
    "function_name",
    "stream",
    "trace_id",
    "span_id",
    "trace_flags",
];

/// The field with the time of the record.
pub(crate) const TIME: &str = "time_unix_nano";

pub(crate) fn is_handed_on(metadata: &Metadata<'_>) -> bool {
    HANDED_ON.contains(&metadata.target())
}

pub(crate) fn time(unix_nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(unix_nanos)
}

/// When and in which trace something happened, as far as the event says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// The current span has nothing to do with it.
    pub(crate) elsewhere: bool,
    pub(crate) time: Option<SystemTime>,
    pub(crate) ids: Option<Ids>,
}

impl Origin {
    /// Nothing for an event of a target that says no such things.
    pub(crate) fn of(event: &Event<'_>) -> Option<Self> {
        let elsewhere = is_handed_on(event.metadata());
        if !elsewhere && event.metadata().target() != CALLS {
            return None;
        }
        let mut said = Said::default();
        event.record(&mut said);
        Some(Self {
            elsewhere,
            time: said.time,
            ids: said.ids(),
        })
    }

    /// Whether the head of the line says what this field says.
    pub(crate) fn says(&self, name: &str) -> bool {
        match name {
            TIME => self.time.is_some(),
            "trace_id" | "span_id" | "trace_flags" => self.ids.is_some(),
            _ => false,
        }
    }
}

struct Said {
    time: Option<SystemTime>,
    trace: Option<TraceId>,
    span: Option<SpanId>,
    /// Zero if nothing is said, none if what is said makes no sense.
    flags: Option<TraceFlags>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            time: None,
            trace: None,
            span: None,
            flags: Some(TraceFlags::NOT_SAMPLED),
        }
    }
}

impl Said {
    /// All or nothing, so that what makes no sense stays on the line as fields.
    fn ids(&self) -> Option<Ids> {
        Ids::new(self.trace?, self.span?, self.flags?)
    }
}

impl Visit for Said {
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

/// Bytes of which each is written with two digits.
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
