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

use self::{calls::Calls, gauges::PoolGauges, restarts::Workers, worker_metrics::Reported};

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
/// [`Telemetry`](crate::Telemetry), and let it [`watch`](Self::watch) the pool once that has started.
///
/// | metric | |
/// | --- | --- |
/// | `pyproc_requests_total{function_name,status}` | calls that ended; the status is `success`, or `error` for all else |
/// | `pyproc_request_duration_seconds{function_name}` | how long they took, whatever their end: until the answer arrived, so queue, transport and execution together; reading the result is the caller's own |
/// | `pyproc_request_errors_total{function_name,kind}` | those that failed, by [`ErrorKind`](pyproc_pool::ErrorKind), and `abandoned` for those that the caller dropped |
/// | `pyproc_request_queue_seconds{function_name}` | waited in the pool for a worker; calls that were answered |
/// | `pyproc_request_transport_seconds{function_name}` | on the way, and waiting in the worker |
/// | `pyproc_request_execution_seconds{function_name}` | in the function, by the worker's clock |
/// | `pyproc_request_bytes_total{function_name}`, `pyproc_response_bytes_total{function_name}` | inputs and results |
/// | `pyproc_worker_restarts_total{worker_id,reason}` | workers that took the place of another, by what befell that: `crash`; `protocol` if it broke the protocol; `drain` if it ended itself in order; `reload` if it was replaced; `health_check` is for a check that the pool does not make yet |
/// | `pyproc_worker_start_failures_total{worker_id}` | starts that failed |
/// | `pyproc_requests_in_flight{worker_id}` | calls that a worker has |
/// | `pyproc_workers_total{status}` | workers that are `active`, `restarting` (or starting) or `crashed` (given up, or stopped) |
/// | `pyproc_pool_queue_length` | calls that wait for a worker |
/// | `pyproc_pool_capacity` | workers that the pool may have |
/// | `pyproc_pool_calls_capacity` | calls that these may have at a time |
/// | `pyproc_pool_connections` | connections to workers that are open and take calls |
/// | `pyproc_worker_resident_memory_bytes{worker_id}`, `pyproc_worker_cpu_seconds_total{worker_id}` | of the process, on Linux |
/// | `pyproc_worker_metrics_refused_total{reason}` | series in reports of workers that were not taken: `name`, `kind`, `labels`, `value` or `limit` |
/// | `pyproc_worker_records_lost_total{record}` | log records and spans, `log` and `span`, that workers or the pool had no room for |
/// | those that workers report | what Python code counts, garbage collection and event loops; see the [crate](crate) |
///
/// Those from `pyproc_requests_in_flight` to `pyproc_worker_cpu_seconds_total` are read from the watched pool at each scrape.
///
/// They are those of one pool at a time, whose slots they know. Pools beside each other have each its own, with a [`label`](PoolMetricsBuilder::label)
/// if they share a registry. A worker that several pools connect to reports all that it counts to each of them.
///
/// Labels are bounded. A `function_name` is one that a worker has listed, or that was
/// [named beforehand](PoolMetricsBuilder::functions), or, of workers that list none as those of version 1, one that was answered
/// with success, which are at most 256; 1,024 in all. All others count as `unknown`. A `worker_id` is a slot, which a restart does not change.
#[derive(Clone)]
pub struct PoolMetrics {
    inner: Arc<Inner>,
    /// Not in `inner`, which it has.
    registry: Registry,
}

struct Inner {
    calls: Calls,
    workers: Workers,
    gauges: PoolGauges,
    reported: Reported,
    watched: Mutex<Watched>,
}

/// The pool, and how many have been watched: a watch that ends must not end a later one.
#[derive(Default)]
struct Watched {
    pool: Option<WeakPool>,
    turn: u64,
}

/// While it lives, and the pool does, the gauges of a [`PoolMetrics`] show the pool.
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

    /// Shows this pool in the gauges, instead of the one before.
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
        self.inner.workers.note(event);
        self.inner.reported.note(event);
    }

    /// A worker reports what it counted.
    pub(crate) fn report(&self, from: RecordOrigin, record: MetricsRecord) {
        let reported = &self.inner.reported;
        reported.record(from, record, &self.registry);
    }

    pub(crate) fn lost(&self, lost: LostRecord) {
        self.inner.reported.lost(lost);
    }
}

impl PoolMetricsBuilder {
    /// Adds the metrics to a registry.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, or the registry already has metrics of these names and labels.
    pub fn register(self, registry: &Registry) -> Result<PoolMetrics, prometheus::Error> {
        if self.buckets.is_empty() || !self.buckets.iter().all(|bound| bound.is_finite()) {
            let reason = "the upper bounds of buckets must be finite numbers, at least one";
            return Err(prometheus::Error::Msg(reason.into()));
        }
        let calls = Calls::new(&self)?;
        let workers = Workers::new(&self)?;
        let gauges = PoolGauges::new(&self)?;
        let own = [calls.desc(), workers.desc(), gauges.desc()].concat();
        let inner = Arc::new(Inner {
            reported: Reported::new(&self, own)?,
            calls,
            workers,
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

/// What the registry asks. One collector, so that a registry takes all of them or none.
struct All(Arc<Inner>);

impl Collector for All {
    fn desc(&self) -> Vec<&Desc> {
        let Inner {
            calls,
            workers,
            gauges,
            reported,
            ..
        } = &*self.0;
        [calls.desc(), workers.desc(), gauges.desc(), reported.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let inner = &self.0;
        let mut families = inner.calls.collect();
        families.extend(inner.workers.collect());
        families.extend(inner.reported.collect());
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
