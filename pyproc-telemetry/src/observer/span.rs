//! The start and the end of a call's spans.

use std::sync::Arc;

use opentelemetry::{
    Context,
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, Tracer as _},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use pyproc_pool::{
    observe::{CallEnd, CallObserver, CallStart, RequestMetadata},
    protocol::TraceContext,
};

use super::{
    failure::Failure,
    prepared,
    record::{CALL, Record},
};
use crate::{
    Tracer,
    provider::{NewSpan, Pipeline},
    text::truncated,
};

/// The longest function name. Names come from callers.
const MAX_NAME: usize = 256;

/// Starts a call's spans in its caller's context, and injects the trace context into the request. `None` if nothing is
/// recorded. Attributes are added at the end, as most spans are not sampled.
pub(super) fn begin(
    tracer: &Arc<Tracer>,
    call: &CallStart<'_>,
    metadata: &mut RequestMetadata<'_>,
) -> Option<Box<Record>> {
    match tracer.pipeline().filter(|it| !it.is_closed()) {
        // Nothing in this closure makes another context current, which `map_current` forbids.
        Some(pipeline) => {
            Context::map_current(|parent| own(pipeline, tracer, call, metadata, parent))
        }
        None => external(tracer, call, metadata, &Context::current()),
    }
}

fn own(
    pipeline: &Pipeline,
    tracer: &Arc<Tracer>,
    call: &CallStart<'_>,
    metadata: &mut RequestMetadata<'_>,
    parent: &Context,
) -> Option<Box<Record>> {
    let above = parent.has_active_span().then(|| parent.span());
    let above = above.as_ref().map(|it| it.span_context());
    // The call is part of telemetry itself.
    if parent.is_telemetry_suppressed() {
        return propagate(above?, tracer, metadata, parent);
    }
    // An invalid parent counts as none, as in the SDK.
    let mut record = match above.filter(|it| it.is_valid()) {
        None => prepared::take(tracer),
        Some(above) => {
            let new_span = pipeline.begin_below(above);
            if !new_span.records {
                let id = RandomIdGenerator::default().new_span_id();
                return propagate(&new_span.context(id), tracer, metadata, parent);
            }
            let mut record = prepared::take(tracer);
            record.new_span = new_span;
            record
        }
    };
    if !record.new_span.records {
        let context = record.new_span.context(record.id);
        prepared::give_back(record);
        return propagate(&context, tracer, metadata, parent);
    }
    pipeline.span_started(&record.new_span, record.id, parent);
    record.begin(call);
    record.inject(metadata, parent);
    Some(record)
}

#[cold]
fn external(
    tracer: &Arc<Tracer>,
    call: &CallStart<'_>,
    metadata: &mut RequestMetadata<'_>,
    parent: &Context,
) -> Option<Box<Record>> {
    let builder = SpanBuilder::from_name(CALL).with_kind(SpanKind::Client);
    let span = tracer.build_with_context(builder, parent);
    let context = span.span_context().clone();
    if !span.is_recording() {
        return propagate(&context, tracer, metadata, parent);
    }
    let mut record = prepared::take(tracer);
    record.new_span = NewSpan {
        trace: context.trace_id(),
        flags: context.trace_flags(),
        state: context.trace_state().clone(),
        records: true,
        ..NewSpan::NONE
    };
    record.begin(call);
    // It chooses the execution's id itself, so spans of Python code are children of the call.
    (record.id, record.inner) = (context.span_id(), context.span_id());
    record.external = Some(Box::new(span));
    record.inject(metadata, parent);
    Some(record)
}

/// Propagates the context of a call without spans.
#[inline(never)]
fn propagate(
    context: &SpanContext,
    tracer: &Tracer,
    metadata: &mut RequestMetadata<'_>,
    parent: &Context,
) -> Option<Box<Record>> {
    if context.is_valid() {
        metadata.trace = Some(TraceContext {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            flags: context.trace_flags().to_u8(),
        });
        let (propagator, state) = (tracer.propagator(), context.trace_state());
        propagator.add_to(metadata.headers, parent, state, || context.clone());
    }
    None
}

impl Record {
    fn begin(&mut self, call: &CallStart<'_>) {
        let name = truncated(call.method, MAX_NAME);
        if *self.function != *name {
            self.function = prepared::shared(name);
        }
        self.start.set(call.start);
    }

    fn inject(&self, metadata: &mut RequestMetadata<'_>, parent: &Context) {
        metadata.times = true;
        // A worker that does not report when the function ran has no span for it, so spans of Python code are children
        // of the call.
        metadata.caller_span_id = Some(self.id.to_bytes());
        let new_span = &self.new_span;
        metadata.trace = Some(TraceContext {
            trace_id: new_span.trace.to_bytes(),
            span_id: self.inner.to_bytes(),
            flags: new_span.flags.to_u8(),
        });
        let (propagator, context) = (self.tracer.propagator(), || new_span.context(self.inner));
        propagator.add_to(metadata.headers, parent, &new_span.state, context);
    }
}

impl CallObserver for Record {
    fn end(mut self: Box<Self>, end: &CallEnd<'_>) {
        let sampled = self.new_span.flags.is_sampled();
        if let Some(counted) = self.counted.take() {
            let span = sampled.then(|| self.new_span.context(self.id));
            counted.count(end, span.as_ref());
        }
        self.duration = end.duration;
        self.worker = end.worker;
        self.timings = end.timings;
        self.failure = Failure::of(&end.outcome);
        if let Some(span) = self.external.take() {
            return self.give_to(*span);
        }
        let tracer = Arc::clone(&self.tracer);
        if let Some(pipeline) = tracer.pipeline() {
            pipeline.finished(self, sampled);
        }
    }
}
