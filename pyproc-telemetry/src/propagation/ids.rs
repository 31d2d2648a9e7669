//! Ids as hexadecimal text.

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector},
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};

/// A trace id that may have lost its leading zeros, or its upper half.
pub(super) fn trace_id(text: &str) -> Option<TraceId> {
    let id = hex(text, 32)?;
    (id != 0).then(|| id.into())
}

/// A span id that may have lost its leading zeros.
pub(super) fn span_id(text: &str) -> Option<SpanId> {
    let id = u64::try_from(hex(text, 16)?).ok()?;
    (id != 0).then(|| id.into())
}

/// Accepts digits only: the number parser would also accept a sign.
pub(super) fn hex(text: &str, longest: usize) -> Option<u128> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match digits && text.len() <= longest {
        true => u128::from_str_radix(text, 16).ok(),
        false => None,
    }
}

pub(super) fn remote(
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
    state: TraceState,
) -> SpanContext {
    SpanContext::new(trace, span, flags, true, state)
}

/// The context with the extracted span, or unchanged.
pub(super) fn entered(context: &Context, found: Option<SpanContext>) -> Context {
    match found {
        Some(found) => context.with_remote_span_context(found),
        None => context.clone(),
    }
}

/// Injects the context's span, if it is valid.
pub(super) fn with_span(
    context: &Context,
    injector: &mut dyn Injector,
    write: impl FnOnce(&SpanContext, &mut dyn Injector),
) {
    let span = context.span();
    if span.span_context().is_valid() {
        write(span.span_context(), injector);
    }
}

pub(super) fn trimmed<'a>(extractor: &'a dyn Extractor, name: &str) -> Option<&'a str> {
    extractor.get(name).map(str::trim)
}
