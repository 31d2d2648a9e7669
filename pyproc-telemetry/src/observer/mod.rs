//! The pool's observer, which makes spans and counts calls.

use std::{fmt, sync::Arc};

use pyproc_pool::{
    PoolBuilder,
    observe::{
        CallEnd, CallObserver, CallStart, Observer, RecordOrigin, RequestMetadata, Wants,
        WorkerEvent, WorkerRecord,
    },
    protocol::v2::telemetry::SpanRecord,
};

use self::worker_resources::WorkerResources;
use crate::{PoolMetrics, Tracer, export::Ended, metrics::Counted, provider::Pipeline};

mod clock;
mod failure;
mod prepared;
mod record;
mod span;
mod worker_resources;
mod worker_span;

/// Attaches tracing and metrics to a pool.
///
/// Each method adds an observer to the pool. [`with_telemetry`](Self::with_telemetry) attaches tracing and metrics as
/// one observer: a call costs less, and metrics get exemplars.
pub trait PoolBuilderExt: Sized {
    /// Traces the pool's calls.
    ///
    /// The [crate](crate) describes spans, attributes and errors.
    ///
    /// Each call becomes a span `pyproc.pool.call`, and each execution that its worker reports a span
    /// `pyproc.worker.execute` below it, with nothing to set up in Python. The parent is the current OpenTelemetry context, which with
    /// `tracing-opentelemetry` is that of the current `tracing` span.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use pyproc_telemetry::{PoolBuilderExt, Provider};
    ///
    /// let provider = Provider::from_env()?;
    /// let pool = pyproc_pool::Pool::builder()
    ///     .worker_script("worker.py")
    ///     .with_tracer(provider.tracer("my-service"))
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    fn with_tracer(self, tracer: Tracer) -> Self {
        self.with_telemetry(Telemetry::default().tracer(tracer))
    }

    /// Counts the pool's calls and the restarts of its workers.
    fn with_metrics(self, metrics: &PoolMetrics) -> Self {
        self.with_telemetry(Telemetry::default().metrics(metrics))
    }

    /// Attaches the chosen parts.
    fn with_telemetry(self, telemetry: Telemetry) -> Self;
}

impl PoolBuilderExt for PoolBuilder {
    fn with_telemetry(self, telemetry: Telemetry) -> Self {
        match telemetry.is_empty() {
            true => self,
            false => self.observer(Arc::new(telemetry)),
        }
    }
}

/// A pool's observer: tracing, metrics, or both.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use pyproc_telemetry::{PoolBuilderExt, PoolMetrics, Provider, Telemetry, prometheus::Registry};
///
/// let (provider, registry) = (Provider::from_env()?, Registry::new());
/// let metrics = PoolMetrics::register(&registry)?;
/// let telemetry = Telemetry::default()
///     .tracer(provider.tracer("my-service"))
///     .metrics(&metrics);
/// let builder = pyproc_pool::Pool::builder().worker_script("worker.py");
/// let pool = builder.with_telemetry(telemetry).start().await?;
/// let watch = metrics.watch(&pool);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Telemetry {
    /// Shared, as each call holds a handle.
    tracer: Option<Arc<Tracer>>,
    metrics: Option<PoolMetrics>,
    resources: Arc<WorkerResources>,
}

impl Telemetry {
    /// Makes spans with this tracer.
    #[must_use]
    pub fn tracer(mut self, tracer: Tracer) -> Self {
        self.tracer = Some(Arc::new(tracer));
        self
    }

    /// Counts in these metrics.
    #[must_use]
    pub fn metrics(mut self, metrics: &PoolMetrics) -> Self {
        self.metrics = Some(metrics.clone());
        self
    }

    /// Exports a span that was made in a worker.
    fn import(&self, from: RecordOrigin, mut span: SpanRecord) {
        let Some(pipeline) = self.pipeline() else {
            return;
        };
        let given = span.resource.take();
        let resource = given.map(|given| self.resources.of(from, given, pipeline.resource()));
        let pid = from.pid.filter(|_| resource.is_none());
        match worker_span::ended(span, pid, pipeline.limits()) {
            Some(span) => pipeline.imported(Ended { span, resource }),
            None => pipeline.malformed(),
        }
    }

    fn pipeline(&self) -> Option<&Pipeline> {
        self.tracer.as_ref()?.pipeline()
    }

    fn is_empty(&self) -> bool {
        self.tracer.is_none() && self.metrics.is_none()
    }
}

impl Observer for Telemetry {
    fn begin(
        &self,
        call: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        let record = self.tracer.as_ref();
        let record = record.and_then(|tracer| span::begin(tracer, call, metadata));
        let counted = self.metrics.as_ref();
        let counted = counted.map(|metrics| metrics.begin(call.method));
        metadata.times |= counted.is_some();
        match (record, counted) {
            (None, None) => None,
            (None, Some(counted)) => Some(counted),
            (Some(mut record), counted) => {
                record.counted = counted;
                Some(record)
            }
        }
    }

    fn prepare_next(&self) {
        if let Some(tracer) = &self.tracer {
            prepared::prepare(tracer);
        }
    }

    fn worker(&self, event: &WorkerEvent<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.worker(event);
        }
    }

    fn wants(&self) -> Wants {
        let tracer = self.tracer.as_ref();
        Wants {
            spans: tracer.is_some_and(|it| it.takes_records()),
            metrics: self.metrics.is_some(),
        }
    }

    fn record(&self, from: RecordOrigin, record: WorkerRecord) {
        match record {
            WorkerRecord::Span(span) => self.import(from, span),
            WorkerRecord::Metrics(report) => {
                if let Some(metrics) = &self.metrics {
                    metrics.report(from, report);
                }
            }
            WorkerRecord::Lost(lost) => {
                if let Some(pipeline) = self.pipeline() {
                    pipeline.lost_in_worker(lost.spans);
                }
                if let Some(metrics) = &self.metrics {
                    metrics.lost(lost);
                }
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("tracer", &self.tracer.is_some())
            .field("metrics", &self.metrics.is_some())
            .finish()
    }
}

impl CallObserver for Counted {
    fn end(self: Box<Self>, end: &CallEnd<'_>) {
        self.count(end, None);
    }
}
