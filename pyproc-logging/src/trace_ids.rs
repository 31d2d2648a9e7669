//! The trace ids of a line.

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt},
};
use tracing::Event;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::own_dispatch::OwnDispatch;

/// The ids of an OpenTelemetry span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

/// Finds the ids of `tracing` spans through the log's subscriber.
#[derive(Debug)]
pub(crate) struct IdSource(pub(crate) OwnDispatch);

impl IdSource {
    /// The ids of a span, or of its nearest traced parent.
    ///
    /// This starts a span that was not entered yet, as a span has ids only from its start. The caller must hold no lock
    /// on the extensions of a span.
    pub(crate) fn of<S: for<'a> LookupSpan<'a>>(&self, span: &SpanRef<'_, S>) -> Option<Ids> {
        let dispatch = self.0.get()?;
        span.scope().find_map(|span| {
            let context = tracing_opentelemetry::get_otel_context(&span.id(), &dispatch)?;
            Ids::of(context.span().span_context())
        })
    }
}

/// The ids of the line, given those of the event's `tracing` span.
///
/// `tracing-opentelemetry` also makes each entered span the current one of OpenTelemetry, and a span made with
/// OpenTelemetry itself is a child of it. So the current context is the most exact, unless it belongs to another trace.
/// For an event with an explicit parent the current context does not count. For an event that is explicitly without a
/// parent the current span does not count.
pub(crate) fn choose(event: &Event<'_>, of_span: impl FnOnce() -> Option<Ids>) -> Option<Ids> {
    if event.is_root() {
        return current();
    }
    let of_span = of_span();
    if !event.is_contextual() {
        return of_span;
    }
    match (of_span, current()) {
        (Some(span), Some(current)) if span.trace != current.trace => Some(span),
        (span, current) => current.or(span),
    }
}

fn current() -> Option<Ids> {
    Context::map_current(|context| {
        if context.has_active_span() {
            Ids::of(context.span().span_context())
        } else {
            None
        }
    })
}

impl Ids {
    /// `None` if one of the ids is all zeros.
    pub(crate) fn new(trace: TraceId, span: SpanId, flags: TraceFlags) -> Option<Self> {
        let valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        valid.then_some(Self { trace, span, flags })
    }

    fn of(context: &SpanContext) -> Option<Self> {
        Self::new(context.trace_id(), context.span_id(), context.trace_flags())
    }

    pub(crate) fn write_json(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"trace_id\":\"");
        write_hex(&self.trace.to_bytes(), out);
        out.extend_from_slice(b"\",\"span_id\":\"");
        write_hex(&self.span.to_bytes(), out);
        out.extend_from_slice(b"\",\"trace_flags\":\"");
        write_hex(&[self.flags.to_u8()], out);
        out.push(b'"');
    }

    pub(crate) fn write_text(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b" trace_id=");
        write_hex(&self.trace.to_bytes(), out);
        out.extend_from_slice(b" span_id=");
        write_hex(&self.span.to_bytes(), out);
    }
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 0xf)]);
    }
}
