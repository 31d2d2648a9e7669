//! From an ended span to where it goes.
//!
//! Everything that a span passes is a [`Sink`]. A queue hands batches to an [`Exporter`], which
//! may block: it runs on a thread of its own.

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

/// A span that has ended, on its way.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) span: SpanData,
    /// Where it was made. `None`: in this service itself.
    pub(crate) resource: Option<Arc<Resource>>,
}

/// What a sink takes.
#[derive(Debug)]
pub(crate) enum Item {
    Span(Box<Ended>),
    /// So many spans that are written down where it costs no call time.
    Later(usize, Box<dyn Later>),
}

/// What spans are made of, once somebody has the time.
pub(crate) trait Later: Send + std::fmt::Debug {
    /// How many it will be.
    fn count(&self) -> usize;

    fn spans(self: Box<Self>) -> Vec<SpanData>;
}

impl Item {
    pub(crate) fn later(spans: Box<impl Later + 'static>) -> Self {
        Self::Later(spans.count(), spans)
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Span(_) => 1,
            Self::Later(count, _) => *count,
        }
    }

    pub(crate) fn spans(self) -> Vec<Ended> {
        match self {
            Self::Span(span) => vec![*span],
            Self::Later(_, later) => later.spans().into_iter().map(Ended::from).collect(),
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

    /// Waits until all spans taken so far have been dealt with.
    fn flush(&self, limit: Duration) -> Result<(), FlushError>;

    /// Flushes, and takes no more. The result counts all that was taken.
    fn close(&self, limit: Duration) -> Result<ExportStats, FlushError>;

    fn stats(&self) -> ExportStats;
}

/// Brings batches to their destination.
pub(crate) trait Exporter: Send {
    /// Sends a batch. Should give up at `deadline`, and not try again once `pause` is interrupted.
    fn export(&mut self, batch: Vec<Ended>, deadline: Instant, pause: &Pause) -> Undelivered;

    /// Called after the last batch.
    fn close(&mut self) {}
}

/// What did not arrive of a batch.
#[derive(Debug, Default)]
pub(crate) struct Undelivered {
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// Why what was sent together did not arrive, if so.
    pub(crate) error: Option<ExportError>,
}

impl Undelivered {
    /// Of so many spans that were sent together. The result says how many of them were refused.
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

/// When a limit ends; one beyond all times ends after any process.
pub(crate) fn after(limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(limit.min(FAR)).unwrap_or(now)
}
