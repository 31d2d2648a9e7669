//! What all spans of a provider go through.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    Context,
    trace::{Span as _, TraceContextExt},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

use crate::{ExportStats, FlushError, TailSampling, export::Sink, tail::Tail};

#[derive(Debug)]
pub(crate) struct Pipeline {
    tail: Option<Tail>,
    sink: Arc<dyn Sink>,
    closed: AtomicBool,
}

impl Pipeline {
    pub(crate) fn new(tail: Option<TailSampling>, sink: Arc<dyn Sink>) -> Self {
        Self {
            tail: tail.map(|config| Tail::new(config, Arc::clone(&sink))),
            sink,
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn ended(&self, span: SpanData) {
        match &self.tail {
            Some(tail) => tail.ended(span),
            None if span.span_context.is_sampled() => self.sink.accept(span),
            None => {}
        }
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
        self.sink.close(limit)
    }

    pub(crate) fn stats(&self) -> ExportStats {
        let stats = self.sink.stats();
        ExportStats {
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
    fn accept(&self, _span: SpanData) {}

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
