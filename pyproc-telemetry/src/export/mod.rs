//! From an ended span to where it goes.
//!
//! Everything that a span passes is a [`Sink`]. A queue hands batches to an [`Exporter`], which
//! may block: it runs on a thread of its own.

use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::SpanData;

use crate::{ExportError, FlushError};

#[cfg(feature = "grpc")]
pub(crate) mod grpc;
pub(crate) mod http;
mod http_client;
pub(crate) mod memory;
mod otlp;
mod pause;
pub(crate) mod queue;
pub(crate) mod sdk;
mod stats;
pub(crate) mod stdout;

pub(crate) use pause::Pause;
pub use stats::ExportStats;

/// Takes ended spans.
pub(crate) trait Sink: Send + Sync + std::fmt::Debug {
    /// Takes a sampled span. Never waits for a destination.
    fn accept(&self, span: SpanData);

    /// Waits until all spans taken so far have been dealt with.
    fn flush(&self, limit: Duration) -> Result<(), FlushError>;

    /// Flushes, and takes no more. The result counts all that was taken.
    fn close(&self, limit: Duration) -> Result<ExportStats, FlushError>;

    fn stats(&self) -> ExportStats;
}

/// Brings batches to their destination.
pub(crate) trait Exporter: Send {
    /// Sends a batch. Should give up at `deadline`, and not try again once `pause` is interrupted. Returns how many of
    /// its spans the destination refused.
    fn export(
        &mut self,
        batch: Vec<SpanData>,
        deadline: Instant,
        pause: &Pause,
    ) -> Result<u64, ExportError>;

    /// Called after the last batch.
    fn close(&mut self) {}
}
