//! Metrics over OTLP. What must stay true: a report that is not delivered in time is dropped, as the next one includes
//! its values, and no call waits for a report.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use opentelemetry::Context;
use prometheus::Registry;

use self::{message::Writer, sender::Sender};
use crate::{
    Config, Exemplars, ExportError, MetricsExporterType, StartError,
    blocking::on_thread,
    export::{Pause, after, log_limit::LogLimit},
    provider::resource,
};

mod message;
mod sender;

/// Sends the metrics of a registry to a collector, over OTLP, beside or in place of `/metrics`. Needs the feature `otlp-metrics`.
///
/// At each [`interval`](crate::MetricsConfig::interval) it gathers the registry like a scrape does, and sends all
/// metrics under the same names: counters and histograms as cumulative values with exemplars, and gauges with their
/// current values. A report that cannot be delivered in time is dropped, as the next one includes its values. Calls
/// never wait for a report.
///
/// Its drop does what [`shutdown_blocking`](Self::shutdown_blocking) does.
///
/// ```no_run
/// use pyproc_telemetry::{Config, Exemplars, MetricsExporter, prometheus::Registry};
///
/// let registry = Registry::new();
/// let config = Config::from_env()?;
/// let export = MetricsExporter::start(&registry, &Exemplars::default(), &config)?;
/// // ...
/// let stats = export.shutdown_blocking()?;
/// assert_eq!(stats.failed, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MetricsExporter {
    /// None: not enabled.
    running: Option<Running>,
    shutdown_timeout: Duration,
}

/// Counts of reports by what became of them. A report has all metrics of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MetricsExportStats {
    /// Arrived: the collector confirmed them.
    pub exported: u64,
    /// Refused by the collector for good.
    pub refused: u64,
    /// Not delivered: the collector was not there, too slow or overloaded; or the registry could not be read.
    pub failed: u64,
    /// Values that the collector refused in delivered reports.
    pub points_refused: u64,
}

struct Running {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    interval: Duration,
    timeout: Duration,
    state: Mutex<State>,
    changed: Condvar,
    pause: Pause,
    failing: LogLimit,
    works: LogLimit,
}

#[derive(Default)]
struct State {
    stats: MetricsExportStats,
    /// The outcome of the last report.
    last: Option<Result<(), ExportError>>,
    /// The number of requested flushes, and the number of those that the last completed report serves.
    asked: u64,
    served: u64,
    /// The deadline of a shutdown, once it has started.
    closing: Option<Instant>,
    finished: bool,
}

impl MetricsExporter {
    /// Sends the metrics of this registry, with these exemplars, to the collector of the settings. It does nothing if
    /// the settings are not [`enabled`](Config::enabled), or if their [exporter for
    /// metrics](crate::MetricsConfig::exporter_type) is not OTLP.
    ///
    /// # Errors
    ///
    /// A setting is wrong, or the system gave no thread. An absent collector is not an error: it may start later.
    pub fn start(
        registry: &Registry,
        exemplars: &Exemplars,
        config: &Config,
    ) -> Result<Self, StartError> {
        config.validate()?;
        let metrics = &config.metrics;
        let running = match metrics.exporter_type {
            MetricsExporterType::Otlp if config.enabled => {
                let otlp = config.metrics_otlp();
                let shared = Arc::new(Shared {
                    interval: metrics.interval,
                    timeout: metrics.timeout.min(otlp.timeout),
                    state: Mutex::default(),
                    changed: Condvar::new(),
                    pause: Pause::default(),
                    failing: LogLimit::new(),
                    works: LogLimit::new(),
                });
                let sender = Sender::new(&otlp)?;
                let writer = Writer::new(registry, exemplars, &resource(config));
                Some(Running::start(shared, sender, writer)?)
            }
            _ => None,
        };
        Ok(Self {
            running,
            shutdown_timeout: config.shutdown_timeout,
        })
    }

    /// The counts of reports so far.
    pub fn stats(&self) -> MetricsExportStats {
        let running = self.running.as_ref();
        running.map_or_else(MetricsExportStats::default, |it| it.shared.lock().stats)
    }

    /// Sends the current metrics, and waits until they are delivered.
    ///
    /// # Errors
    ///
    /// They were not delivered within the limit, and why.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future stops only the waiting: the metrics are sent all the same.
    pub async fn flush(&self, limit: Duration) -> Result<(), ExportError> {
        match &self.running {
            Some(running) => on_thread(&running.shared, limit, Shared::flush).await,
            None => Ok(()),
        }
    }

    /// [`flush`](Self::flush) for code that is not async. On a thread of a runtime it is safe, but blocks it.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub fn flush_blocking(&self, limit: Duration) -> Result<(), ExportError> {
        match &self.running {
            Some(running) => running.shared.flush(limit),
            None => Ok(()),
        }
    }

    /// Sends the metrics a last time, and ends. Takes at most `shutdown_timeout`.
    ///
    /// # Errors
    ///
    /// The last report was not delivered, and why.
    ///
    /// # Cancellation safety
    ///
    /// Once polled, the shutdown continues when the future is dropped.
    pub async fn shutdown(mut self) -> Result<MetricsExportStats, ExportError> {
        let limit = self.shutdown_timeout;
        match self.running.take() {
            Some(running) => on_thread(&running.shared, limit, Shared::close).await,
            None => Ok(MetricsExportStats::default()),
        }
    }

    /// [`shutdown`](Self::shutdown) for code that is not async. On a thread of a runtime it is safe, but blocks it.
    ///
    /// # Errors
    ///
    /// Those of [`shutdown`](Self::shutdown).
    pub fn shutdown_blocking(mut self) -> Result<MetricsExportStats, ExportError> {
        self.close()
    }

    fn close(&mut self) -> Result<MetricsExportStats, ExportError> {
        let Some(running) = self.running.take() else {
            return Ok(MetricsExportStats::default());
        };
        let result = running.shared.close(self.shutdown_timeout);
        if running.shared.lock().finished {
            // A panic of the registry was caught and counted.
            let _ = running.thread.join();
        }
        result
    }
}

impl Drop for MetricsExporter {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the last metrics were not exported");
        }
    }
}

impl Running {
    fn start(
        shared: Arc<Shared>,
        mut sender: Sender,
        mut writer: Writer,
    ) -> Result<Self, StartError> {
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("pyproc-metrics".into())
            .spawn(move || {
                // The exporter's own libraries must not make spans.
                let _suppressed = Context::enter_telemetry_suppressed_scope();
                while let Some((asked, deadline)) = theirs.next_report() {
                    let report = || sender.send(&writer.message(), deadline, &theirs.pause);
                    let result = catch_unwind(AssertUnwindSafe(report)).unwrap_or_else(|_| {
                        Err(ExportError::unreachable("reading the registry panicked"))
                    });
                    theirs.settle(asked, result);
                }
                theirs.lock().finished = true;
                theirs.changed.notify_all();
            })
            .map_err(StartError::Thread)?;
        Ok(Self { shared, thread })
    }
}

impl Shared {
    /// Waits until a report is due. `None`: the last one has been sent.
    fn next_report(&self) -> Option<(u64, Instant)> {
        let due = after(self.interval);
        let mut state = self.lock();
        loop {
            if state.closing.is_some() && state.served == state.asked {
                return None;
            }
            let left = due.saturating_duration_since(Instant::now());
            if state.served < state.asked || left.is_zero() {
                let deadline = after(self.timeout);
                let deadline = state.closing.map_or(deadline, |end| end.min(deadline));
                return Some((state.asked, deadline));
            }
            state = self.wait(state, left);
        }
    }

    fn settle(&self, asked: u64, result: Result<u64, ExportError>) {
        let mut state = self.lock();
        let failed_before = matches!(state.last, Some(Err(_)));
        let stats = &mut state.stats;
        match &result {
            Ok(points) => {
                stats.exported += 1;
                stats.points_refused = stats.points_refused.saturating_add(*points);
            }
            Err(error) if error.refused => stats.refused += 1,
            Err(_) => stats.failed += 1,
        }
        let result = result.map(drop);
        state.last = Some(result.clone());
        state.served = asked;
        drop(state);
        self.pause.clear();
        self.changed.notify_all();
        // Only the start and the end of a problem are logged.
        match result {
            Err(error) if !failed_before => {
                if let Some(times) = self.failing.record_event() {
                    tracing::warn!(%error, times, "metrics export fails; reports are being lost");
                }
            }
            Ok(()) if failed_before => {
                if let Some(times) = self.works.record_event() {
                    tracing::info!(times, "metrics export works again");
                }
            }
            _ => {}
        }
    }

    fn flush(&self, limit: Duration) -> Result<(), ExportError> {
        let mut state = self.lock();
        state.asked += 1;
        self.served(state, limit).map(drop)
    }

    fn close(&self, limit: Duration) -> Result<MetricsExportStats, ExportError> {
        let mut state = self.lock();
        state.asked += 1;
        state.closing.get_or_insert_with(|| after(limit));
        self.pause.interrupt();
        self.served(state, limit)
    }

    /// Waits until all requested flushes are served.
    fn served(
        &self,
        mut state: MutexGuard<'_, State>,
        limit: Duration,
    ) -> Result<MetricsExportStats, ExportError> {
        let (target, deadline) = (state.asked, after(limit));
        self.changed.notify_all();
        while state.served < target {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let trouble = self.pause.trouble();
                let none = || ExportError::unreachable(format!("no answer within {limit:?}"));
                return Err(trouble.unwrap_or_else(none));
            }
            state = self.wait(state, left);
        }
        let stats = state.stats;
        match state.last.clone() {
            Some(Err(error)) => Err(error),
            _ => Ok(stats),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        let woken = self.changed.wait_timeout(state, left);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl fmt::Debug for MetricsExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsExporter")
            .field("enabled", &self.running.is_some())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
