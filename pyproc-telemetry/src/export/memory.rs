use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry_sdk::trace::SpanData;

use super::{Item, Sink};
use crate::{ExportStats, FlushError};

/// Keeps sampled spans in memory, for tests. A span is available as soon as it has ended.
///
/// ```
/// use opentelemetry::trace::{Span, Tracer};
/// use pyproc_telemetry::{MemorySpans, Provider};
///
/// let spans = MemorySpans::default();
/// let provider = Provider::builder().enabled(true).in_memory(&spans).start()?;
/// provider.tracer("test").start("work").end();
/// assert_eq!(spans.finished()[0].name, "work");
/// # Ok::<(), pyproc_telemetry::StartError>(())
/// ```
#[derive(Clone, Default)]
pub struct MemorySpans(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    spans: Vec<SpanData>,
    stats: ExportStats,
    closed: bool,
}

impl MemorySpans {
    /// The sampled spans, in the order of their ends.
    pub fn finished(&self) -> Vec<SpanData> {
        self.lock().spans.clone()
    }

    /// Removes all spans.
    pub fn clear(&self) {
        self.lock().spans.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemorySpans {
    fn accept(&self, item: Item) {
        let count = item.count() as u64;
        let mut state = self.lock();
        if state.closed {
            state.stats.shut_down += count;
        } else {
            state.stats.exported += count;
            state
                .spans
                .extend(item.spans().into_iter().map(|it| it.span));
        }
    }

    fn flush(&self, _limit: Duration) -> Result<(), FlushError> {
        Ok(())
    }

    fn close(&self, _limit: Duration) -> Result<ExportStats, FlushError> {
        let mut state = self.lock();
        state.closed = true;
        Ok(state.stats)
    }

    fn stats(&self) -> ExportStats {
        self.lock().stats
    }
}

impl fmt::Debug for MemorySpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans = self.lock().spans.len();
        f.debug_struct("MemorySpans")
            .field("spans", &spans)
            .finish()
    }
}
