//! The span of one call, while it lasts.

use std::sync::Arc;

use opentelemetry::{
    Context,
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, Tracer as _},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use pyproc_pool::{
    observe::{CallEnd, CallObserver, CallStart, Carried},
    protocol::v2::TraceContext,
};

use super::{
    clipped,
    failure::Failure,
    next,
    record::{CALL, Record},
};
use crate::{
    Tracer,
    pipeline::{Begun, Pipeline},
};

/// Names come from callers.
const MAX_NAME: usize = 256;

/// What is known of a call's trace. Most calls are not sampled, so theirs is small.
pub(super) enum CallSpan {
    PassingOn(PassingOn),
    Recording(Box<Record>),
}

/// The context that goes on, and how.
pub(super) struct PassingOn {
    context: SpanContext,
    tracer: Arc<Tracer>,
}

impl CallSpan {
    /// Starts a span in the caller's context. Attributes come at the end: most spans are not sampled.
    pub(super) fn start(tracer: &Arc<Tracer>, call: &CallStart<'_>) -> Option<Self> {
        match tracer.pipeline().filter(|it| !it.is_closed()) {
            // Nothing in there makes another context current, which a look at this one forbids.
            Some(pipeline) => {
                Context::map_current(|parent| Self::own(pipeline, tracer, call, parent))
            }
            None => Self::foreign(tracer, call, &Context::current()),
        }
    }

    fn own(
        pipeline: &Pipeline,
        tracer: &Arc<Tracer>,
        call: &CallStart<'_>,
        parent: &Context,
    ) -> Option<Self> {
        let above = parent.has_active_span().then(|| parent.span());
        let above = above.as_ref().map(|it| it.span_context());
        // It would be a span of telemetry itself.
        if parent.is_telemetry_suppressed() {
            return Self::passing_on(above?.clone(), tracer);
        }
        // The SDK takes an invalid parent for a parent, and makes a span without a trace.
        let mut record = match above.filter(|it| it.is_valid()) {
            None => next::take(tracer),
            Some(above) => {
                let begun = pipeline.begin_below(above);
                if !begun.records {
                    let id = RandomIdGenerator::default().new_span_id();
                    return Self::passing_on(begun.context(id), tracer);
                }
                let mut record = next::take(tracer);
                record.begun = begun;
                record
            }
        };
        if !record.begun.records {
            let context = record.begun.context(record.id);
            next::give_back(record);
            return Self::passing_on(context, tracer);
        }
        pipeline.begun(&record.begun, record.id, parent);
        record.begin(call);
        Some(Self::Recording(record))
    }

    fn foreign(tracer: &Arc<Tracer>, call: &CallStart<'_>, parent: &Context) -> Option<Self> {
        let builder = SpanBuilder::from_name(CALL).with_kind(SpanKind::Client);
        let span = tracer.build_with_context(builder, parent);
        let context = span.span_context().clone();
        if !span.is_recording() {
            return Self::passing_on(context, tracer);
        }
        let mut record = next::take(tracer);
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
        Some(Self::Recording(record))
    }

    fn passing_on(context: SpanContext, tracer: &Arc<Tracer>) -> Option<Self> {
        context.is_valid().then(|| {
            Self::PassingOn(PassingOn {
                context,
                tracer: Arc::clone(tracer),
            })
        })
    }
}

impl Record {
    fn begin(&mut self, call: &CallStart<'_>) {
        let name = clipped(call.method, MAX_NAME);
        if *self.function != *name {
            self.function = next::shared(name);
        }
        self.start.set(call.start);
    }
}

impl PassingOn {
    pub(super) fn carry(&self, carried: &mut Carried<'_>) {
        let context = &self.context;
        carried.trace = Some(TraceContext {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            flags: context.trace_flags().to_u8(),
        });
        let (propagator, state) = (self.tracer.propagator(), context.trace_state());
        propagator.add_to(carried.headers, state, || context.clone());
    }
}

impl CallObserver for Record {
    fn carry(&mut self, carried: &mut Carried<'_>) {
        carried.times = true;
        // What cannot say when the function ran has no span for it, so what is below hangs below the call.
        carried.caller_span_id = Some(self.id.to_bytes());
        let begun = &self.begun;
        carried.trace = Some(TraceContext {
            trace_id: begun.trace.to_bytes(),
            span_id: self.inner.to_bytes(),
            flags: begun.flags.to_u8(),
        });
        let (propagator, context) = (self.tracer.propagator(), || begun.context(self.inner));
        propagator.add_to(carried.headers, &begun.state, context);
    }

    fn end(mut self: Box<Self>, end: &CallEnd<'_>) {
        let sampled = self.begun.flags.is_sampled();
        if let Some(counted) = self.counted.take() {
            let span = sampled.then(|| self.begun.context(self.id));
            counted.count(end, span.as_ref());
        }
        self.duration = end.duration;
        self.worker = end.worker;
        self.anatomy = end.anatomy;
        self.failure = Failure::of(&end.outcome).map(Box::new);
        if let Some(span) = self.foreign.take() {
            return self.give_to(*span);
        }
        let tracer = Arc::clone(&self.tracer);
        if let Some(pipeline) = tracer.pipeline() {
            pipeline.finished(self, sampled);
        }
    }
}
