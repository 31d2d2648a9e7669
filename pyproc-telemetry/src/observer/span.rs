//! How the spans of a call begin and end.

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
    provider::{Begun, Pipeline},
    text::truncated,
};

/// Names come from callers.
const MAX_NAME: usize = 256;

/// Begins a call's spans in its caller's context, and says what of its trace travels. `None` if there is nothing to record.
/// Attributes come at the end: most spans are not sampled.
pub(super) fn begin(
    tracer: &Arc<Tracer>,
    call: &CallStart<'_>,
    metadata: &mut RequestMetadata<'_>,
) -> Option<Box<Record>> {
    match tracer.pipeline().filter(|it| !it.is_closed()) {
        // Nothing in there makes another context current, which a look at this one forbids.
        Some(pipeline) => {
            Context::map_current(|parent| own(pipeline, tracer, call, metadata, parent))
        }
        None => foreign(tracer, call, metadata, &Context::current()),
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
    // It would be a span of telemetry itself.
    if parent.is_telemetry_suppressed() {
        return pass_on(above?, tracer, metadata, parent);
    }
    // An invalid parent is none, as for the SDK.
    let mut record = match above.filter(|it| it.is_valid()) {
        None => prepared::take(tracer),
        Some(above) => {
            let begun = pipeline.begin_below(above);
            if !begun.records {
                let id = RandomIdGenerator::default().new_span_id();
                return pass_on(&begun.context(id), tracer, metadata, parent);
            }
            let mut record = prepared::take(tracer);
            record.begun = begun;
            record
        }
    };
    if !record.begun.records {
        let context = record.begun.context(record.id);
        prepared::give_back(record);
        return pass_on(&context, tracer, metadata, parent);
    }
    pipeline.begun(&record.begun, record.id, parent);
    record.begin(call);
    record.inject(metadata, parent);
    Some(record)
}

#[cold]
fn foreign(
    tracer: &Arc<Tracer>,
    call: &CallStart<'_>,
    metadata: &mut RequestMetadata<'_>,
    parent: &Context,
) -> Option<Box<Record>> {
    let builder = SpanBuilder::from_name(CALL).with_kind(SpanKind::Client);
    let span = tracer.build_with_context(builder, parent);
    let context = span.span_context().clone();
    if !span.is_recording() {
        return pass_on(&context, tracer, metadata, parent);
    }
    let mut record = prepared::take(tracer);
    record.begun = Begun {
        trace: context.trace_id(),
        flags: context.trace_flags(),
        state: context.trace_state().clone(),
        records: true,
        ..Begun::NONE
    };
    record.begin(call);
    // It chooses the execution's id itself, so what is below that in Python is below the call.
    (record.id, record.inner) = (context.span_id(), context.span_id());
    record.foreign = Some(Box::new(span));
    record.inject(metadata, parent);
    Some(record)
}

/// Of a call without spans: its context goes on.
#[inline(never)]
fn pass_on(
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
        // What cannot say when the function ran has no span for it, so what is below hangs below the call.
        metadata.caller_span_id = Some(self.id.to_bytes());
        let begun = &self.begun;
        metadata.trace = Some(TraceContext {
            trace_id: begun.trace.to_bytes(),
            span_id: self.inner.to_bytes(),
            flags: begun.flags.to_u8(),
        });
        let (propagator, context) = (self.tracer.propagator(), || begun.context(self.inner));
        propagator.add_to(metadata.headers, parent, &begun.state, context);
    }
}

impl CallObserver for Record {
    fn end(mut self: Box<Self>, end: &CallEnd<'_>) {
        let sampled = self.begun.flags.is_sampled();
        if let Some(counted) = self.counted.take() {
            let span = sampled.then(|| self.begun.context(self.id));
            counted.count(end, span.as_ref());
        }
        self.duration = end.duration;
        self.worker = end.worker;
        self.timings = end.timings;
        self.failure = Failure::of(&end.outcome);
        if let Some(span) = self.foreign.take() {
            return self.give_to(*span);
        }
        let tracer = Arc::clone(&self.tracer);
        if let Some(pipeline) = tracer.pipeline() {
            pipeline.finished(self, sampled);
        }
    }
}
