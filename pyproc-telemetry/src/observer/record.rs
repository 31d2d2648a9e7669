//! A call that has ended, and its two spans.
//!
//! The exporter's thread builds the spans, so that a call only stores their parts.

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
use crate::{Span, Tracer, export::DeferredSpans, metrics::Counted, provider::NewSpan};

pub(super) const CALL: &str = "pyproc.pool.call";
const EXECUTE: &str = "pyproc.worker.execute";

/// The observer of a traced call. At the call's end it holds the parts of the spans.
pub(super) struct Record {
    pub(super) new_span: NewSpan,
    pub(super) id: SpanId,
    /// The id of the execution's span. With an external provider, which chooses that id itself, the id of the call's
    /// span.
    pub(super) inner: SpanId,
    /// The call's span, if an external provider made it: such a provider takes only spans of its own.
    pub(super) external: Option<Box<Span>>,
    pub(super) tracer: Arc<Tracer>,
    pub(super) counted: Option<Box<Counted>>,
    pub(super) function: Arc<str>,
    pub(super) start: Start,
    // The fields below are set at the call's end.
    pub(super) duration: Duration,
    pub(super) worker: Option<usize>,
    pub(super) timings: Option<CallTimings>,
    pub(super) failure: Option<Box<Failure>>,
}

impl DeferredSpans for Record {
    fn count(&self) -> usize {
        let times = self.timings.and_then(|it| it.times);
        1 + usize::from(times.is_some())
    }

    /// The execution comes first, as tail sampling decides a subtree at the end of its local root.
    fn spans(self: Box<Self>) -> Vec<SpanData> {
        let mut spans = Vec::with_capacity(2);
        let phases = self.phases();
        spans.extend(self.execution(&phases));
        spans.push(self.call(&phases));
        spans
    }
}

impl Record {
    /// A record for a call of this function that has not started.
    pub(super) fn new(tracer: &Arc<Tracer>, function: Arc<str>) -> Self {
        let mut new = Self {
            new_span: NewSpan::NONE,
            id: SpanId::INVALID,
            inner: SpanId::INVALID,
            external: None,
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

    /// Draws new ids and starts a trace. A call below another span replaces the trace.
    pub(super) fn draw(&mut self) {
        let ids = RandomIdGenerator::default();
        (self.id, self.inner) = (ids.new_span_id(), ids.new_span_id());
        if let Some(pipeline) = self.tracer.pipeline() {
            self.new_span = pipeline.begin_root();
        }
    }

    fn call(self, phases: &Phases) -> SpanData {
        let mut attributes = self.attributes();
        phases.describe(&mut attributes);
        let start = self.start.time_of_day();
        let finish = start + self.duration;
        let scope = self.scope();
        let failure = self.failure.as_deref();
        attributes.extend(failure.map(|it| KeyValue::new("error.type", it.name())));
        SpanData {
            parent_span_id: self.new_span.parent,
            parent_span_is_remote: self.new_span.parent_is_remote,
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
            span_context: self.new_span.context(self.id),
        }
    }

    fn execution(&self, phases: &Phases) -> Option<SpanData> {
        let (start, finish) = phases.executed?;
        let failure = self.failure.as_deref().filter(|it| it.is_remote);
        let mut attributes = self.attributes();
        attributes.extend(failure.map(|it| KeyValue::new("error.type", it.name())));
        Some(SpanData {
            span_context: self.new_span.context(self.inner),
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

    fn phases(&self) -> Phases {
        let answered = self.timings.as_ref();
        answered.map_or_else(Phases::default, |it| {
            Phases::of(it, self.start.time_of_day())
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

    /// Ends the spans of an external provider. It chooses the execution's id, so spans of Python code are children of
    /// the call.
    #[cold]
    pub(super) fn give_to(self, span: Span) {
        let phases = self.phases();
        if let Some(execution) = self.execution(&phases) {
            let call = self.new_span.context(self.inner);
            let parent = Context::new().with_remote_span_context(call);
            let builder = SpanBuilder::from_name(EXECUTE)
                .with_kind(SpanKind::Server)
                .with_start_time(execution.start_time);
            complete(self.tracer.build_with_context(builder, &parent), execution);
        }
        complete(span, self.call(&phases));
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("context", &self.new_span.context(self.id))
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

/// The phases of a call that was answered.
#[derive(Default)]
struct Phases {
    queued: Option<Duration>,
    /// The time on the connection and in the worker's queue. `None` if the worker does not report when the function
    /// ran.
    transport: Option<Duration>,
    executed: Option<(SystemTime, SystemTime)>,
}

impl Phases {
    /// The worker uses this host's clock, which may have been set in between. Then the execution is moved to between
    /// the request and its answer.
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
