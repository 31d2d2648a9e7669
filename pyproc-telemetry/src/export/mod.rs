//! From an ended span to its destination.
//!
//! A [`Sink`] takes ended spans. A queue passes batches to an [`Exporter`], which may block: it runs on a thread of its
//! own. What must stay true: no sink blocks the thread that ends a span, and each span is counted by what became of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry_sdk::{Resource, trace::SpanData};

use crate::{ExportError, ExportStats, FlushError};

pub(crate) mod log_limit;
pub(crate) mod memory;
pub(crate) mod otlp;
mod pause;
pub(crate) mod queue;
mod resources;
pub(crate) mod sdk;
pub(crate) mod stdout;

pub(crate) use pause::Pause;

/// An ended span.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) span: SpanData,
    /// The process that made it. `None`: this service itself.
    pub(crate) resource: Option<Arc<Resource>>,
}

/// One or more ended spans.
#[derive(Debug)]
pub(crate) enum Item {
    Span(Box<Ended>),
    /// A number of spans that the exporter's thread builds, so that no call spends time on it.
    Deferred(usize, Box<dyn DeferredSpans>),
}

/// The parts of spans, which the exporter's thread builds.
pub(crate) trait DeferredSpans: Send + std::fmt::Debug {
    /// The number of spans.
    fn count(&self) -> usize;

    fn spans(self: Box<Self>) -> Vec<SpanData>;
}

impl Item {
    pub(crate) fn deferred(spans: Box<impl DeferredSpans + 'static>) -> Self {
        Self::Deferred(spans.count(), spans)
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Span(_) => 1,
            Self::Deferred(count, _) => *count,
        }
    }

    pub(crate) fn spans(self) -> Vec<Ended> {
        match self {
            Self::Span(span) => vec![*span],
            Self::Deferred(_, deferred) => deferred.spans().into_iter().map(Ended::from).collect(),
        }
    }
}

impl From<SpanData> for Ended {
    fn from(span: SpanData) -> Self {
        Self {
            span,
            resource: None,
        }
    }
}

impl From<SpanData> for Item {
    fn from(span: SpanData) -> Self {
        Self::Span(Box::new(span.into()))
    }
}

/// Takes ended spans.
pub(crate) trait Sink: Send + Sync + std::fmt::Debug {
    /// Takes sampled spans. Never waits for a destination.
    fn accept(&self, item: Item);

    /// Waits until all spans taken so far are settled.
    fn flush(&self, limit: Duration) -> Result<(), FlushError>;

    /// Flushes, and takes no more spans. The result counts all spans.
    fn close(&self, limit: Duration) -> Result<ExportStats, FlushError>;

    fn stats(&self) -> ExportStats;
}

/// Sends batches to their destination.
pub(crate) trait Exporter: Send {
    /// Sends a batch. Should end at `deadline`, and not retry once `pause` is interrupted.
    fn export(&mut self, batch: Vec<Ended>, deadline: Instant, pause: &Pause) -> Undelivered;

    /// Called after the last batch.
    fn close(&mut self) {}
}

/// The spans of a batch that were not delivered.
#[derive(Debug, Default)]
pub(crate) struct Undelivered {
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// Why a whole request was not delivered.
    pub(crate) error: Option<ExportError>,
}

impl Undelivered {
    /// The outcome of one request with `count` spans. `result` is the number of refused spans.
    pub(crate) fn of(count: u64, result: Result<u64, ExportError>) -> Self {
        let (refused, failed, error) = match result {
            Ok(refused) => (refused.min(count), 0, None),
            Err(error) if error.refused => (count, 0, Some(error)),
            Err(error) => (0, count, Some(error)),
        };
        Self {
            refused,
            failed,
            error,
        }
    }
}

/// The deadline of a limit. Limits of more than 30 years count as 30 years.
pub(crate) fn after(limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(limit.min(FAR)).unwrap_or(now)
}
