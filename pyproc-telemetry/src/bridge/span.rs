//! The span of one call, while it lasts.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context,
    trace::{Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, Tracer as _},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use pyproc_pool::{
    observe::{CallEnd, CallStart, Carried},
    protocol::v2::TraceContext,
};

use super::{
    clipped,
    failure::Failure,
    record::{CALL, Record, Window},
};
use crate::{
    Span, Tracer,
    pipeline::{Begun, Pipeline},
};

/// Names come from callers.
const MAX_NAME: usize = 256;

/// What is known of a call's trace. Most calls are not sampled, so theirs is small.
pub(super) enum CallSpan {
    /// The context that goes on, and how.
    PassingOn(SpanContext, Arc<Tracer>),
    Recording(Box<Recording>),
}

pub(super) struct Recording {
    begun: Begun,
    /// Of somebody else's provider, which takes no spans that were made without it.
    foreign: Option<Span>,
    tracer: Arc<Tracer>,
    function: String,
    start: SystemTime,
    /// How far into the call that was. By monotonic clocks alone times would not compare with those of other spans.
    offset: Duration,
    /// The worker's span, or where that cannot be made with an id of ours, the call's.
    inner: SpanContext,
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
        match pipeline.begin(CALL, &SpanKind::Client, parent) {
            Some(begun) if begun.records => {
                let id = RandomIdGenerator::default().new_span_id();
                let inner = with_id(&begun.context, id);
                let recording = Recording::new(begun, None, inner, tracer, call);
                Some(Self::Recording(Box::new(recording)))
            }
            Some(begun) => Some(Self::PassingOn(begun.context, Arc::clone(tracer))),
            None => Self::passing_on(parent.span().span_context(), tracer),
        }
    }

    fn foreign(tracer: &Arc<Tracer>, call: &CallStart<'_>, parent: &Context) -> Option<Self> {
        let builder = SpanBuilder::from_name(CALL).with_kind(SpanKind::Client);
        let span = tracer.build_with_context(builder, parent);
        let context = span.span_context().clone();
        if !span.is_recording() {
            return Self::passing_on(&context, tracer);
        }
        let begun = Begun {
            context: context.clone(),
            parent: SpanId::INVALID,
            parent_is_remote: false,
            records: true,
        };
        let recording = Recording::new(begun, Some(span), context, tracer, call);
        Some(Self::Recording(Box::new(recording)))
    }

    fn passing_on(context: &SpanContext, tracer: &Arc<Tracer>) -> Option<Self> {
        context
            .is_valid()
            .then(|| Self::PassingOn(context.clone(), Arc::clone(tracer)))
    }

    /// The context of a span that will be exported.
    pub(super) fn sampled(&self) -> Option<&SpanContext> {
        match self {
            Self::PassingOn(..) => None,
            Self::Recording(it) => Some(&it.begun.context).filter(|it| it.is_sampled()),
        }
    }

    pub(super) fn carry(&self, carried: &mut Carried<'_>) {
        let (inner, tracer) = match self {
            Self::PassingOn(context, tracer) => (context, tracer),
            Self::Recording(it) => (&it.inner, &it.tracer),
        };
        carried.times |= matches!(self, Self::Recording(_));
        carried.trace = Some(TraceContext {
            trace_id: inner.trace_id().to_bytes(),
            span_id: inner.span_id().to_bytes(),
            flags: inner.trace_flags().to_u8(),
        });
        if let Self::Recording(it) = self {
            // What cannot say when the function ran has no span for it, so what is below hangs below the call.
            carried.caller_span_id = Some(it.begun.context.span_id().to_bytes());
        }
        tracer.propagator().add_to(carried.headers, inner);
    }

    pub(super) fn end(self, end: &CallEnd<'_>) {
        if let Self::Recording(recording) = self {
            recording.end(end);
        }
    }
}

impl Recording {
    fn new(
        begun: Begun,
        foreign: Option<Span>,
        inner: SpanContext,
        tracer: &Arc<Tracer>,
        call: &CallStart<'_>,
    ) -> Self {
        // In this order a pause between the two shortens the span, and does not push it beyond its parent's end.
        let start = SystemTime::now();
        Self {
            begun,
            foreign,
            inner,
            tracer: Arc::clone(tracer),
            function: clipped(call.method, MAX_NAME).to_owned(),
            start,
            offset: call.start.elapsed(),
        }
    }

    fn end(self, end: &CallEnd<'_>) {
        let sampled = self.begun.context.is_sampled();
        let record = Record {
            window: Window::of(end, self.start, self.offset),
            finish: self.start + end.duration.saturating_sub(self.offset),
            failure: Failure::of(&end.outcome),
            worker: end.worker.and_then(|worker| i64::try_from(worker).ok()),
            scope: self.tracer.scope().cloned().unwrap_or_default(),
            begun: self.begun,
            inner: self.inner,
            function: self.function,
            start: self.start,
        };
        match (self.foreign, self.tracer.pipeline()) {
            (Some(span), _) => record.give_to(&self.tracer, span),
            (None, Some(pipeline)) => pipeline.finished(record, sampled),
            (None, None) => {}
        }
    }
}

fn with_id(context: &SpanContext, id: SpanId) -> SpanContext {
    SpanContext::new(
        context.trace_id(),
        id,
        context.trace_flags(),
        false,
        context.trace_state().clone(),
    )
}
