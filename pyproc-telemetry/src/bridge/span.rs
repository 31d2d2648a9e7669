//! The spans of one call.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Event, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt,
        Tracer as _,
    },
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use pyproc_pool::{
    observe::{CallEnd, CallStart, Carried},
    protocol::v2::TraceContext,
};

use super::failure::{Failure, clipped};
use crate::{Span, Tracer};

const CALL: &str = "pyproc.pool.call";
const EXECUTE: &str = "pyproc.worker.execute";

/// Names come from callers.
const MAX_NAME: usize = 256;

/// What is known of a call's trace. Most calls are not sampled, so theirs is small.
pub(super) enum CallSpan {
    /// The context that goes on, and how.
    PassingOn(SpanContext, Arc<Tracer>),
    Recording(Box<Recording>),
}

pub(super) struct Recording {
    span: Span,
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
        let parent = Context::current();
        let span = tracer.build_with_context(builder(CALL, SpanKind::Client), &parent);
        if span.is_recording() {
            let recording = Recording::new(span, Arc::clone(tracer), call);
            return Some(Self::Recording(Box::new(recording)));
        }
        let context = span.span_context();
        context
            .is_valid()
            .then(|| Self::PassingOn(context.clone(), Arc::clone(tracer)))
    }

    /// The context of a span that will be exported.
    pub(super) fn sampled(&self) -> Option<&SpanContext> {
        match self {
            Self::PassingOn(..) => None,
            Self::Recording(it) => Some(it.span.span_context()).filter(|it| it.is_sampled()),
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
        tracer.propagator().add_to(carried.headers, inner);
    }

    pub(super) fn end(self, end: &CallEnd<'_>) {
        if let Self::Recording(recording) = self {
            recording.end(end);
        }
    }
}

impl Recording {
    fn new(span: Span, tracer: Arc<Tracer>, call: &CallStart<'_>) -> Self {
        let context = span.span_context();
        let inner = match tracer.takes_records() {
            true => with_id(context, RandomIdGenerator::default().new_span_id()),
            false => context.clone(),
        };
        // In this order a pause between the two shortens the span, and does not push it beyond its parent's end.
        let start = SystemTime::now();
        Self {
            inner,
            span,
            tracer,
            function: clipped(call.method, MAX_NAME).to_owned(),
            start,
            offset: call.start.elapsed(),
        }
    }

    fn end(mut self, end: &CallEnd<'_>) {
        let failure = Failure::of(&end.outcome);
        let finish = self.start + end.duration.saturating_sub(self.offset);
        let mut attributes = self.attributes(end.worker);
        // First, as the end of a local root decides on all below it.
        if let Some(window) = Window::of(end, self.start, self.offset) {
            window.describe(&mut attributes);
            if window.executed.is_some() {
                let remote = failure.as_ref().filter(|it| it.is_remote);
                self.record_execution(&window, end.worker, remote);
            }
        }
        if let Some(failure) = &failure {
            attributes.push(KeyValue::new("error.type", failure.name()));
            self.span.set_status(failure.status());
            let event = failure.event();
            self.span
                .add_event_with_timestamp("exception", finish, event);
        }
        self.span.set_attributes(attributes);
        self.span.end_with_timestamp(finish);
    }

    fn attributes(&self, worker: Option<usize>) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(8);
        attributes.push(KeyValue::new("rpc.system.name", "pyproc"));
        attributes.push(KeyValue::new("function_name", self.function.clone()));
        attributes.push(KeyValue::new("rpc.method", self.function.clone()));
        let worker = worker.and_then(|worker| i64::try_from(worker).ok());
        attributes.extend(worker.map(|worker| KeyValue::new("worker_id", worker)));
        attributes
    }

    fn record_execution(
        &self,
        window: &Window,
        worker: Option<usize>,
        failure: Option<&Failure<'_>>,
    ) {
        let Some((start, finish)) = window.executed else {
            return;
        };
        let mut attributes = self.attributes(worker);
        attributes.extend(failure.map(|it| KeyValue::new("error.type", it.name())));
        let status = failure.map_or(Status::Unset, Failure::status);
        let event = failure.map(|it| Event::new("exception", finish, it.event(), 0));
        match self.tracer.scope() {
            Some(scope) => {
                let mut events = SpanEvents::default();
                events.events.extend(event);
                self.tracer.record(SpanData {
                    span_context: self.inner.clone(),
                    parent_span_id: self.span.span_context().span_id(),
                    parent_span_is_remote: false,
                    span_kind: SpanKind::Server,
                    name: EXECUTE.into(),
                    start_time: start,
                    end_time: finish,
                    attributes,
                    dropped_attributes_count: 0,
                    events,
                    links: SpanLinks::default(),
                    status,
                    instrumentation_scope: scope.clone(),
                });
            }
            // Somebody else's provider chooses the id, so what is below it in Python is below the call.
            None => {
                let parent = Context::new().with_remote_span_context(self.inner.clone());
                let builder = builder(EXECUTE, SpanKind::Server)
                    .with_start_time(start)
                    .with_attributes(attributes)
                    .with_events(event.into_iter().collect());
                let mut span = self.tracer.build_with_context(builder, &parent);
                span.set_status(status);
                span.end_with_timestamp(finish);
            }
        }
    }
}

/// When what happened to a call that was answered.
struct Window {
    queued: Duration,
    /// On the way, and waiting in the worker; `None` if the worker does not say when the function ran.
    transport: Option<Duration>,
    executed: Option<(SystemTime, SystemTime)>,
}

impl Window {
    /// The worker's clock is this host's, but one of the two may have been set: the execution is then moved to where it
    /// must have been, between sending and answer.
    fn of(end: &CallEnd<'_>, start: SystemTime, offset: Duration) -> Option<Self> {
        let anatomy = end.anatomy?;
        let sent = start + anatomy.queued.saturating_sub(offset);
        let Some(times) = anatomy.times else {
            return Some(Self {
                queued: anatomy.queued,
                transport: None,
                executed: None,
            });
        };
        let ran = times.duration.min(anatomy.worker);
        let transport = anatomy.worker - ran;
        let began = UNIX_EPOCH.checked_add(times.start).unwrap_or(sent);
        let began = began.clamp(sent, sent + transport);
        Some(Self {
            queued: anatomy.queued,
            transport: Some(transport),
            executed: Some((began, began + ran)),
        })
    }

    fn describe(&self, attributes: &mut Vec<KeyValue>) {
        let seconds = |name, time: Duration| KeyValue::new(name, time.as_secs_f64());
        attributes.push(seconds("pyproc.queue.seconds", self.queued));
        let transport = self.transport;
        attributes.extend(transport.map(|time| seconds("pyproc.transport.seconds", time)));
        if let Some((began, finish)) = self.executed {
            let ran = finish.duration_since(began).unwrap_or_default();
            attributes.push(seconds("pyproc.execute.seconds", ran));
        }
    }
}

fn builder(name: &'static str, kind: SpanKind) -> SpanBuilder {
    SpanBuilder::from_name(name).with_kind(kind)
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
