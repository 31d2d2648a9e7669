//! The path of all spans of a provider, from their start to the sink.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    Context,
    trace::{Span as _, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{IdGenerator, RandomIdGenerator, SamplingDecision, Span, SpanData, SpanProcessor},
};

use super::resource::resource;
use crate::{
    Config, ExportStats, FlushError, SpanLimits,
    export::{DeferredSpans, Ended, Item, Sink},
    sampling::{HeadSampler, TailSampler},
};

#[derive(Debug)]
pub(crate) struct Pipeline {
    tail: Option<TailSampler>,
    sink: Arc<dyn Sink>,
    closed: AtomicBool,
    resource: Resource,
    limits: SpanLimits,
    lost_in_worker: AtomicU64,
    malformed: AtomicU64,
    sampler: HeadSampler,
}

/// A span that starts, without its id.
#[derive(Debug, Clone)]
pub(crate) struct NewSpan {
    pub(crate) trace: TraceId,
    pub(crate) flags: TraceFlags,
    pub(crate) state: TraceState,
    /// Invalid: the span has no parent.
    pub(crate) parent: SpanId,
    pub(crate) parent_is_remote: bool,
    /// False: only its context is propagated.
    pub(crate) records: bool,
}

impl NewSpan {
    /// No span.
    pub(crate) const NONE: Self = Self {
        trace: TraceId::INVALID,
        flags: TraceFlags::NOT_SAMPLED,
        state: TraceState::NONE,
        parent: SpanId::INVALID,
        parent_is_remote: false,
        records: false,
    };

    fn decided(decision: SamplingDecision, above: TraceFlags) -> Self {
        let records = decision != SamplingDecision::Drop;
        Self {
            flags: above.with_sampled(decision == SamplingDecision::RecordAndSample),
            records,
            ..Self::NONE
        }
    }

    /// The context of the span with this id in this trace.
    pub(crate) fn context(&self, id: SpanId) -> SpanContext {
        SpanContext::new(self.trace, id, self.flags, false, self.state.clone())
    }
}

impl Pipeline {
    pub(crate) fn new(config: &Config, sink: Arc<dyn Sink>) -> Self {
        let tail = config.tail_sampling;
        Self {
            tail: tail.map(|config| TailSampler::new(config, Arc::clone(&sink))),
            sink,
            closed: AtomicBool::new(false),
            resource: resource(config),
            limits: config.span_limits,
            lost_in_worker: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            sampler: HeadSampler::new(config),
        }
    }

    /// The resource of the service itself.
    pub(crate) fn resource(&self) -> &Resource {
        &self.resource
    }

    pub(crate) fn limits(&self) -> &SpanLimits {
        &self.limits
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Starts a trace. Its spans are not spans of the SDK, which would have to be built at once.
    pub(crate) fn begin_root(&self) -> NewSpan {
        let trace = RandomIdGenerator::default().new_trace_id();
        let decision = self.sampler.decide(None, trace);
        NewSpan {
            trace,
            ..NewSpan::decided(decision, TraceFlags::default())
        }
    }

    /// Starts a span below this one.
    pub(crate) fn begin_below(&self, above: &SpanContext) -> NewSpan {
        let trace = above.trace_id();
        let decision = self.sampler.decide(Some(above), trace);
        NewSpan {
            trace,
            state: above.trace_state().clone(),
            parent: above.span_id(),
            parent_is_remote: above.is_remote(),
            ..NewSpan::decided(decision, above.trace_flags())
        }
    }

    /// Notes that a recording span with this id has started.
    pub(crate) fn span_started(&self, span: &NewSpan, id: SpanId, parent: &Context) {
        if let Some(tail) = &self.tail {
            tail.started(&span.context(id), parent.span().span_context());
        }
    }

    /// Takes the spans of a call, which started here.
    pub(crate) fn finished(&self, call: Box<impl DeferredSpans + 'static>, sampled: bool) {
        match &self.tail {
            None if sampled => self.sink.accept(Item::deferred(call)),
            None => {}
            // Tail sampling decides by the spans themselves.
            Some(tail) => call.spans().into_iter().for_each(|span| tail.ended(span)),
        }
    }

    pub(crate) fn ended(&self, span: SpanData) {
        match &self.tail {
            Some(tail) => tail.ended(span),
            None if span.span_context.is_sampled() => self.sink.accept(span.into()),
            None => {}
        }
    }

    /// Takes a sampled span of a worker.
    pub(crate) fn imported(&self, span: Ended) {
        self.sink.accept(Item::Span(Box::new(span)));
    }

    /// Counts a worker's span that was refused.
    pub(crate) fn malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lost_in_worker(&self, spans: u64) {
        let add = |lost: u64| Some(lost.saturating_add(spans));
        let _ = self
            .lost_in_worker
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    pub(crate) fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        self.sink.flush(limit)
    }

    /// Spans that start from here on only propagate contexts. Open spans that end later are counted as lost.
    pub(crate) fn close(&self, limit: Duration) -> Result<ExportStats, FlushError> {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(tail) = &self.tail {
            tail.finish();
        }
        match self.sink.close(limit) {
            Ok(stats) => Ok(self.with_own(stats)),
            Err(error) => Err(FlushError {
                stats: self.with_own(*error.stats).into(),
                ..error
            }),
        }
    }

    pub(crate) fn stats(&self) -> ExportStats {
        self.with_own(self.sink.stats())
    }

    /// Adds the spans that never reached the sink.
    fn with_own(&self, stats: ExportStats) -> ExportStats {
        ExportStats {
            lost_in_worker: self.lost_in_worker.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            evicted: self.tail.as_ref().map_or(0, TailSampler::evicted),
            ..stats
        }
    }
}

/// The span processor that the SDK calls. The provider does flush and shutdown, as it knows the limits.
#[derive(Debug)]
pub(crate) struct Processor(pub(crate) Arc<Pipeline>);

impl SpanProcessor for Processor {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        if let Some(tail) = &self.0.tail {
            tail.started(span.span_context(), parent.span().span_context());
        }
    }

    fn on_end(&self, span: SpanData) {
        self.0.ended(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// For the exporter `none`.
#[derive(Debug)]
pub(crate) struct DiscardingSink;

impl Sink for DiscardingSink {
    fn accept(&self, _item: Item) {}

    fn flush(&self, _limit: Duration) -> Result<(), FlushError> {
        Ok(())
    }

    fn close(&self, _limit: Duration) -> Result<ExportStats, FlushError> {
        Ok(ExportStats::default())
    }

    fn stats(&self) -> ExportStats {
        ExportStats::default()
    }
}
