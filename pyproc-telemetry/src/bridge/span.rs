//! The span of one call, while it lasts.

use std::{cell::RefCell, sync::Arc, time::Duration};

use opentelemetry::{
    Context,
    trace::{Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, Tracer as _},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use pyproc_pool::{
    observe::{CallEnd, CallObserver, CallStart, Carried},
    protocol::v2::TraceContext,
};

use super::{
    clipped,
    clock::time_of_day,
    failure::Failure,
    record::{CALL, Record},
};
use crate::{
    Span, Tracer,
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
        match pipeline.begin(parent) {
            Some(begun) if begun.records => {
                let inner = RandomIdGenerator::default().new_span_id();
                Some(Self::recording(begun, None, inner, tracer, call))
            }
            Some(begun) => Some(Self::PassingOn(PassingOn {
                context: begun.context,
                tracer: Arc::clone(tracer),
            })),
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
            context,
            parent: SpanId::INVALID,
            parent_is_remote: false,
            records: true,
        };
        let (inner, span) = (begun.context.span_id(), Some(Box::new(span)));
        Some(Self::recording(begun, span, inner, tracer, call))
    }

    fn passing_on(context: &SpanContext, tracer: &Arc<Tracer>) -> Option<Self> {
        context.is_valid().then(|| {
            Self::PassingOn(PassingOn {
                context: context.clone(),
                tracer: Arc::clone(tracer),
            })
        })
    }

    fn recording(
        begun: Begun,
        foreign: Option<Box<Span>>,
        inner: SpanId,
        tracer: &Arc<Tracer>,
        call: &CallStart<'_>,
    ) -> Self {
        Self::Recording(Box::new(Record {
            begun,
            foreign,
            inner,
            tracer: Arc::clone(tracer),
            counted: None,
            function: shared(clipped(call.method, MAX_NAME)),
            start: time_of_day(call.start),
            duration: Duration::ZERO,
            worker: None,
            anatomy: None,
            failure: None,
        }))
    }
}

impl PassingOn {
    pub(super) fn carry(&self, carried: &mut Carried<'_>) {
        carry(&self.context, &self.tracer, carried);
    }
}

impl CallObserver for Record {
    fn carry(&mut self, carried: &mut Carried<'_>) {
        carried.times = true;
        // What cannot say when the function ran has no span for it, so what is below hangs below the call.
        carried.caller_span_id = Some(self.begun.context.span_id().to_bytes());
        carry(&self.inner(), &self.tracer, carried);
    }

    fn end(mut self: Box<Self>, end: &CallEnd<'_>) {
        let sampled = self.begun.context.is_sampled();
        if let Some(counted) = self.counted.take() {
            counted.count(end, Some(&self.begun.context).filter(|_| sampled));
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

thread_local! {
    static LATEST_NAME: RefCell<Arc<str>> = RefCell::new(Arc::from(""));
}

/// The name, in memory that it shares with the call before if that was of the same function.
fn shared(name: &str) -> Arc<str> {
    let found = LATEST_NAME.try_with(|latest| {
        let mut latest = latest.borrow_mut();
        if **latest != *name {
            *latest = name.into();
        }
        Arc::clone(&latest)
    });
    // A thread that ends has none any more.
    found.unwrap_or_else(|_| name.into())
}

fn carry(inner: &SpanContext, tracer: &Tracer, carried: &mut Carried<'_>) {
    carried.trace = Some(TraceContext {
        trace_id: inner.trace_id().to_bytes(),
        span_id: inner.span_id().to_bytes(),
        flags: inner.trace_flags().to_u8(),
    });
    tracer.propagator().add_to(carried.headers, inner);
}
