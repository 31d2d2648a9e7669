use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use pyproc_pool::{
    Pool, WeakPool,
    observe::{RecordOrigin, WorkerEvent},
    protocol::v2::telemetry::{LostRecord, MetricsRecord},
};

use self::{calls::Calls, gauges::PoolGauges, restarts::Restarts, worker_metrics::WorkerMetrics};

mod builder;
mod calls;
mod gauges;
#[cfg(target_os = "linux")]
mod process;
mod restarts;
mod worker_metrics;

pub use builder::PoolMetricsBuilder;
pub(crate) use calls::Counted;

/// The metrics of a pool, in a registry of the [`prometheus`] crate. Cheap to clone.
///
/// Attach it with [`PoolBuilderExt::with_metrics`](crate::PoolBuilderExt::with_metrics) or
/// [`Telemetry`](crate::Telemetry), and [`watch`](Self::watch) the pool once it has started.
///
/// | metric | |
/// | --- | --- |
/// | `pyproc_requests_total{function_name,status}` | calls that ended; the status is `success` or `error` |
/// | `pyproc_request_duration_seconds{function_name}` | latency until the answer arrived, so queue, transport and execution together, without decoding the result; or until the call ended without an answer |
/// | `pyproc_request_errors_total{function_name,kind}` | calls that failed, by [`ErrorKind`](pyproc_pool::ErrorKind), and `abandoned` for those that the caller dropped |
/// | `pyproc_request_queue_seconds{function_name}` | time in the pool's queue, of calls that were answered |
/// | `pyproc_request_transport_seconds{function_name}` | time on the connection and in the worker's queue |
/// | `pyproc_request_execution_seconds{function_name}` | time in the function, by the worker's clock |
/// | `pyproc_request_bytes_total{function_name}`, `pyproc_response_bytes_total{function_name}` | inputs and results |
/// | `pyproc_worker_restarts_total{worker_id,reason}` | workers that replaced another, by why that ended: `crash`; `protocol` for a protocol violation; `drain` if it stopped in order; `reload` for a reload; `health_check` is reserved |
/// | `pyproc_worker_start_failures_total{worker_id}` | starts that failed |
/// | `pyproc_requests_in_flight{worker_id}` | calls in flight on a worker |
/// | `pyproc_workers_total{status}` | workers that are `active`, `restarting` (or starting) or `crashed` (or stopped) |
/// | `pyproc_pool_queue_length` | calls in the queue |
/// | `pyproc_pool_capacity` | the pool's slots |
/// | `pyproc_pool_calls_capacity` | calls that may be in flight at a time |
/// | `pyproc_pool_connections` | connections to workers that are open and take calls |
/// | `pyproc_worker_resident_memory_bytes{worker_id}`, `pyproc_worker_cpu_seconds_total{worker_id}` | of the process, on Linux |
/// | `pyproc_worker_metrics_refused_total{reason}` | refused series in reports of workers: `name`, `kind`, `labels`, `value` or `limit` |
/// | `pyproc_worker_records_lost_total{record}` | log records and spans, `log` and `span`, that workers or the pool dropped |
/// | those that workers report | metrics of Python code, garbage collection and event loops; see the [crate](crate) |
///
/// Those from `pyproc_requests_in_flight` to `pyproc_worker_cpu_seconds_total` are read from the watched pool at each scrape.
///
/// They belong to one pool at a time. Each of several pools needs its own, with a [`label`](PoolMetricsBuilder::label)
/// if they share a registry. A worker that several pools connect to reports all its counts to each of them.
///
/// Labels are bounded. A `function_name` is one that a worker has listed, or that was [given in
/// advance](PoolMetricsBuilder::functions). Workers of version 1 list none: there it is one that was answered with
/// success, at most 256. At most 1,024 functions have series of their own; all others count as `unknown`. A `worker_id`
/// is a slot, which a restart does not change.
#[derive(Clone)]
pub struct PoolMetrics {
    inner: Arc<Inner>,
    /// Not part of `inner`, as the registry holds `inner`.
    registry: Registry,
}

struct Inner {
    calls: Calls,
    restarts: Restarts,
    gauges: PoolGauges,
    worker_metrics: WorkerMetrics,
    watched: Mutex<Watched>,
}

/// The watched pool, and the number of watches so far: the end of a watch must not end a later one.
#[derive(Default)]
struct Watched {
    pool: Option<WeakPool>,
    turn: u64,
}

/// The gauges of a [`PoolMetrics`] show the pool while this value and the pool live.
#[must_use = "the gauges show the pool only while this lives"]
pub struct PoolWatch {
    inner: Arc<Inner>,
    turn: u64,
}

impl PoolMetrics {
    /// Adds them to a registry, with the defaults of [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// The registry already has metrics of these names and labels.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Self::builder().register(registry)
    }

    /// Settings step by step.
    pub fn builder() -> PoolMetricsBuilder {
        PoolMetricsBuilder::default()
    }

    /// Shows this pool in the gauges, instead of the previous one.
    pub fn watch(&self, pool: &Pool) -> PoolWatch {
        let mut watched = self.inner.watched();
        watched.pool = Some(pool.downgrade());
        watched.turn += 1;
        PoolWatch {
            inner: Arc::clone(&self.inner),
            turn: watched.turn,
        }
    }

    /// A call of this function begins.
    pub(crate) fn begin(&self, function: &str) -> Box<Counted> {
        self.inner.calls.begin(function)
    }

    pub(crate) fn worker(&self, event: &WorkerEvent<'_>) {
        self.inner.restarts.note(event);
        self.inner.worker_metrics.note(event);
    }

    /// Adds a worker's report.
    pub(crate) fn report(&self, from: RecordOrigin, record: MetricsRecord) {
        let worker_metrics = &self.inner.worker_metrics;
        worker_metrics.record(from, record, &self.registry);
    }

    pub(crate) fn lost(&self, lost: LostRecord) {
        self.inner.worker_metrics.lost(lost);
    }
}

impl PoolMetricsBuilder {
    /// Adds the metrics to a registry.
    ///
    /// # Errors
    ///
    /// A setting is invalid, or the registry already has metrics of these names and labels.
    pub fn register(self, registry: &Registry) -> Result<PoolMetrics, prometheus::Error> {
        if self.buckets.is_empty() || !self.buckets.iter().all(|bound| bound.is_finite()) {
            let reason = "the upper bounds of buckets must be finite numbers, at least one";
            return Err(prometheus::Error::Msg(reason.into()));
        }
        let calls = Calls::new(&self)?;
        let restarts = Restarts::new(&self)?;
        let gauges = PoolGauges::new(&self)?;
        let own = [calls.desc(), restarts.desc(), gauges.desc()].concat();
        let inner = Arc::new(Inner {
            worker_metrics: WorkerMetrics::new(&self, own)?,
            calls,
            restarts,
            gauges,
            watched: Mutex::default(),
        });
        registry.register(Box::new(All(Arc::clone(&inner))))?;
        Ok(PoolMetrics {
            inner,
            registry: registry.clone(),
        })
    }
}

impl Inner {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PoolWatch {
    fn drop(&mut self) {
        let mut watched = self.inner.watched();
        if watched.turn == self.turn {
            watched.pool = None;
        }
    }
}

/// The collector in the registry. There is one for all, so that a registry takes all metrics or none.
struct All(Arc<Inner>);

impl Collector for All {
    fn desc(&self) -> Vec<&Desc> {
        let Inner {
            calls,
            restarts,
            gauges,
            worker_metrics,
            ..
        } = &*self.0;
        [
            calls.desc(),
            restarts.desc(),
            gauges.desc(),
            worker_metrics.desc(),
        ]
        .concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let inner = &self.0;
        let mut families = inner.calls.collect();
        families.extend(inner.restarts.collect());
        families.extend(inner.worker_metrics.collect());
        let pool = inner.watched().pool.as_ref().and_then(WeakPool::upgrade);
        families.extend(
            pool.map(|pool| inner.gauges.collect(&pool))
                .unwrap_or_default(),
        );
        families
    }
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics").finish_non_exhaustive()
    }
}

impl fmt::Debug for PoolWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolWatch").finish_non_exhaustive()
    }
}
