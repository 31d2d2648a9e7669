//! What all spans of a provider go through.

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
    export::{Ended, Item, Later, Sink},
    sampling::{Head, Tail},
};

#[derive(Debug)]
pub(crate) struct Pipeline {
    tail: Option<Tail>,
    sink: Arc<dyn Sink>,
    closed: AtomicBool,
    resource: Resource,
    limits: SpanLimits,
    lost_in_worker: AtomicU64,
    malformed: AtomicU64,
    sampler: Head,
}

/// A span that begins, but for its id.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) trace: TraceId,
    pub(crate) flags: TraceFlags,
    pub(crate) state: TraceState,
    /// Invalid: there is none.
    pub(crate) parent: SpanId,
    pub(crate) parent_is_remote: bool,
    /// Otherwise only its context counts.
    pub(crate) records: bool,
}

impl Begun {
    /// Of nothing.
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

    /// Of the span, or one in its trace, that has this id.
    pub(crate) fn context(&self, id: SpanId) -> SpanContext {
        SpanContext::new(self.trace, id, self.flags, false, self.state.clone())
    }
}

impl Pipeline {
    pub(crate) fn new(config: &Config, sink: Arc<dyn Sink>) -> Self {
        let tail = config.tail_sampling;
        Self {
            tail: tail.map(|config| Tail::new(config, Arc::clone(&sink))),
            sink,
            closed: AtomicBool::new(false),
            resource: resource(config),
            limits: config.span_limits,
            lost_in_worker: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            sampler: Head::new(config),
        }
    }

    /// Of the service itself.
    pub(crate) fn resource(&self) -> &Resource {
        &self.resource
    }

    pub(crate) fn limits(&self) -> &SpanLimits {
        &self.limits
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Starts a trace. Its spans are not the SDK's, which would have to be written down at once.
    pub(crate) fn begin_root(&self) -> Begun {
        let trace = RandomIdGenerator::default().new_trace_id();
        let decision = self.sampler.decide(None, trace);
        Begun {
            trace,
            ..Begun::decided(decision, TraceFlags::default())
        }
    }

    /// Starts a span below this one.
    pub(crate) fn begin_below(&self, above: &SpanContext) -> Begun {
        let trace = above.trace_id();
        let decision = self.sampler.decide(Some(above), trace);
        Begun {
            trace,
            state: above.trace_state().clone(),
            parent: above.span_id(),
            parent_is_remote: above.is_remote(),
            ..Begun::decided(decision, above.trace_flags())
        }
    }

    /// A span that records has begun, and has this id.
    pub(crate) fn begun(&self, span: &Begun, id: SpanId, parent: &Context) {
        if let Some(tail) = &self.tail {
            tail.started(&span.context(id), parent.span().span_context());
        }
    }

    /// Takes the spans of a call, which began here.
    pub(crate) fn finished(&self, call: Box<impl Later + 'static>, sampled: bool) {
        match &self.tail {
            None if sampled => self.sink.accept(Item::later(call)),
            None => {}
            // It needs to see them.
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

    /// A worker sent a span that cannot be.
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

    /// Spans that start from here on only carry contexts; those that are open and end later are counted as lost.
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

    /// With what never came to the sink.
    fn with_own(&self, stats: ExportStats) -> ExportStats {
        ExportStats {
            lost_in_worker: self.lost_in_worker.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            evicted: self.tail.as_ref().map_or(0, Tail::evicted),
            ..stats
        }
    }
}

/// The SDK's view of it. Flush and shutdown are the provider's, which knows its limits.
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
pub(crate) struct Nowhere;

impl Sink for Nowhere {
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
