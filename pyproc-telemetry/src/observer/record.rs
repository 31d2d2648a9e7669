//! What is known of a call that has ended, and the spans that say so.
//!
//! They are written down by the exporter's thread, so that a call only keeps the pieces.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue,
    trace::{
        Event, Span as _, SpanBuilder, SpanId, SpanKind, Status, TraceContextExt, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use pyproc_pool::observe::CallTimings;

use super::{clock::Start, failure::Failure};
use crate::{Span, Tracer, export::Later, metrics::Counted, provider::Begun};

pub(super) const CALL: &str = "pyproc.pool.call";
const EXECUTE: &str = "pyproc.worker.execute";

/// The observer of a call that makes spans, and when it has ended what they are made of.
pub(super) struct Record {
    pub(super) begun: Begun,
    pub(super) id: SpanId,
    /// Of the worker's span, or where that cannot be made with an id of ours, the call's.
    pub(super) inner: SpanId,
    /// Of somebody else's provider, which takes no spans that were made without it.
    pub(super) foreign: Option<Box<Span>>,
    pub(super) tracer: Arc<Tracer>,
    pub(super) counted: Option<Box<Counted>>,
    pub(super) function: Arc<str>,
    pub(super) start: Start,
    // Known when it has ended.
    pub(super) duration: Duration,
    pub(super) worker: Option<usize>,
    pub(super) timings: Option<CallTimings>,
    pub(super) failure: Option<Box<Failure>>,
}

impl Later for Record {
    fn count(&self) -> usize {
        let times = self.timings.and_then(|it| it.times);
        1 + usize::from(times.is_some())
    }

    /// The execution first, as the end of a local root decides on all below it.
    fn spans(self: Box<Self>) -> Vec<SpanData> {
        let mut spans = Vec::with_capacity(2);
        let window = self.window();
        spans.extend(self.execution(&window));
        spans.push(self.call(&window));
        spans
    }
}

impl Record {
    /// Of a call of this function that has not begun.
    pub(super) fn new(tracer: &Arc<Tracer>, function: Arc<str>) -> Self {
        let mut new = Self {
            begun: Begun::NONE,
            id: SpanId::INVALID,
            inner: SpanId::INVALID,
            foreign: None,
            tracer: Arc::clone(tracer),
            counted: None,
            function,
            start: Start::soon(),
            duration: Duration::ZERO,
            worker: None,
            timings: None,
            failure: None,
        };
        new.draw();
        new
    }

    /// Takes new ids, and begins a trace. A call that is below another span has its trace instead.
    pub(super) fn draw(&mut self) {
        let ids = RandomIdGenerator::default();
        (self.id, self.inner) = (ids.new_span_id(), ids.new_span_id());
        if let Some(pipeline) = self.tracer.pipeline() {
            self.begun = pipeline.begin_root();
        }
    }

    fn call(self, window: &Window) -> SpanData {
        let mut attributes = self.attributes();
        window.describe(&mut attributes);
        let start = self.start.time_of_day();
        let finish = start + self.duration;
        let scope = self.scope();
        let failure = self.failure.as_deref();
        attributes.extend(failure.map(|it| KeyValue::new("error.type", it.name())));
        SpanData {
            parent_span_id: self.begun.parent,
            parent_span_is_remote: self.begun.parent_is_remote,
            span_kind: SpanKind::Client,
            name: CALL.into(),
            start_time: start,
            end_time: finish,
            attributes,
            dropped_attributes_count: 0,
            events: exception(failure, finish),
            links: SpanLinks::default(),
            status: failure.map_or(Status::Unset, Failure::status),
            instrumentation_scope: scope,
            span_context: self.begun.context(self.id),
        }
    }

    fn execution(&self, window: &Window) -> Option<SpanData> {
        let (start, finish) = window.executed?;
        let failure = self.failure.as_deref().filter(|it| it.is_remote);
        let mut attributes = self.attributes();
        attributes.extend(failure.map(|it| KeyValue::new("error.type", it.name())));
        Some(SpanData {
            span_context: self.begun.context(self.inner),
            parent_span_id: self.id,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: EXECUTE.into(),
            start_time: start,
            end_time: finish,
            attributes,
            dropped_attributes_count: 0,
            events: exception(failure, finish),
            links: SpanLinks::default(),
            status: failure.map_or(Status::Unset, Failure::status),
            instrumentation_scope: self.scope(),
        })
    }

    fn scope(&self) -> InstrumentationScope {
        self.tracer.scope().cloned().unwrap_or_default()
    }

    fn window(&self) -> Window {
        let answered = self.timings.as_ref();
        answered.map_or_else(Window::default, |it| {
            Window::of(it, self.start.time_of_day())
        })
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(8);
        attributes.push(KeyValue::new("rpc.system.name", "pyproc"));
        attributes.push(KeyValue::new("function_name", Arc::clone(&self.function)));
        attributes.push(KeyValue::new("rpc.method", Arc::clone(&self.function)));
        let worker = self.worker.and_then(|it| i64::try_from(it).ok());
        attributes.extend(worker.map(|it| KeyValue::new("worker_id", it)));
        attributes
    }

    /// Hands it to somebody else's provider, whose span of the call this is. That chooses the execution's id, so what is below it
    /// in Python is below the call.
    #[cold]
    pub(super) fn give_to(self, span: Span) {
        let window = self.window();
        if let Some(execution) = self.execution(&window) {
            let call = self.begun.context(self.inner);
            let parent = Context::new().with_remote_span_context(call);
            let builder = SpanBuilder::from_name(EXECUTE)
                .with_kind(SpanKind::Server)
                .with_start_time(execution.start_time);
            complete(self.tracer.build_with_context(builder, &parent), execution);
        }
        complete(span, self.call(&window));
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("context", &self.begun.context(self.id))
            .field("function", &self.function)
            .finish_non_exhaustive()
    }
}

fn complete(mut span: Span, made: SpanData) {
    span.set_attributes(made.attributes);
    for event in made.events.events {
        span.add_event_with_timestamp(event.name, event.timestamp, event.attributes);
    }
    span.set_status(made.status);
    span.end_with_timestamp(made.end_time);
}

fn exception(failure: Option<&Failure>, at: SystemTime) -> SpanEvents {
    let event = failure.map(|it| Event::new("exception", at, it.event(), 0));
    let mut events = SpanEvents::default();
    events.events.extend(event);
    events
}

/// When what happened to a call, if it was answered.
#[derive(Default)]
struct Window {
    queued: Option<Duration>,
    /// On the way, and waiting in the worker; `None` if the worker does not say when the function ran.
    transport: Option<Duration>,
    executed: Option<(SystemTime, SystemTime)>,
}

impl Window {
    /// The worker's clock is this host's, but one of the two may have been set: the execution is then moved to where it
    /// must have been, between sending and answer.
    fn of(timings: &CallTimings, start: SystemTime) -> Self {
        let queued = Some(timings.queued);
        let sent = start + timings.queued;
        let Some(times) = timings.times else {
            return Self {
                queued,
                ..Self::default()
            };
        };
        let ran = times.duration.min(timings.worker);
        let transport = timings.worker - ran;
        let began = UNIX_EPOCH.checked_add(times.start).unwrap_or(sent);
        let began = began.clamp(sent, sent + transport);
        Self {
            queued,
            transport: Some(transport),
            executed: Some((began, began + ran)),
        }
    }

    fn describe(&self, attributes: &mut Vec<KeyValue>) {
        let seconds = |name, time: Duration| KeyValue::new(name, time.as_secs_f64());
        let (queued, transport) = (self.queued, self.transport);
        attributes.extend(queued.map(|time| seconds("pyproc.queue.seconds", time)));
        attributes.extend(transport.map(|time| seconds("pyproc.transport.seconds", time)));
        if let Some((began, finish)) = self.executed {
            let ran = finish.duration_since(began).unwrap_or_default();
            attributes.push(seconds("pyproc.execute.seconds", ran));
        }
    }
}
