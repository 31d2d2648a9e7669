//! A pool with scripted workers that report metrics.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each user takes its part"
)]

pub use super::sidecar::{Reply, Sockets, echo, serve};
pub use pyproc_pool::{
    Pool, RestartConfig,
    protocol::v2::telemetry::{
        Aggregation, HistogramSeries, Labels, LostRecord, Metric, MetricData, MetricsRecord,
        Record, Series,
    },
};
pub use pyproc_telemetry::{
    Exemplars, MetricsFormat, PoolBuilderExt, PoolMetrics, PoolMetricsBuilder,
    prometheus::{IntCounterVec, IntGauge, Opts, Registry},
    render_metrics,
};
pub use serde_json::Value;
pub use std::time::{Duration, Instant};

pub const LONG: Duration = Duration::from_secs(60);

pub const RAN: Duration = Duration::from_micros(1);

/// A pool whose workers report what the test tells them to.
pub struct Rig {
    pub pool: Pool,
    pub registry: Registry,
    pub _sockets: Sockets,
}

impl Rig {
    pub async fn start(workers: usize) -> Self {
        Self::with(PoolMetrics::builder(), workers).await
    }

    pub async fn with(settings: PoolMetricsBuilder, workers: usize) -> Self {
        let (sockets, registry) = (Sockets::new(), Registry::new());
        let metrics = settings.register(&registry).unwrap();
        let paths: Vec<_> = (0..workers)
            .map(|it| sockets.path(&format!("{it}.sock")))
            .collect();
        for path in &paths {
            serve(path, |request| {
                let reports: Vec<Value> = serde_json::from_slice(&request.body.bytes).unwrap();
                let dies = reports.iter().any(Value::is_null);
                let records = reports.iter().filter(|it| !it.is_null());
                let records = records.map(|it| serde_json::to_vec(it).unwrap());
                let records = records.filter_map(|it| Record::decode_line(&it).unwrap());
                let end = match dies {
                    true => Reply::Die,
                    false => echo(request, RAN),
                };
                Reply::After(records.collect(), Box::new(end))
            });
        }
        let at_once = RestartConfig {
            initial_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(1),
            ..RestartConfig::default()
        };
        let pool = Pool::builder()
            .external_sockets(paths)
            .request_timeout(LONG)
            .max_in_flight(1)
            .restart(at_once)
            .with_metrics(&metrics)
            .start()
            .await
            .unwrap();
        Self {
            pool,
            registry,
            _sockets: sockets,
        }
    }

    /// Lets a worker report.
    pub async fn report(&self, records: impl IntoIterator<Item = Record>) {
        let records: Vec<_> = records.into_iter().collect();
        self.pool
            .call::<_, Value>("listed", &records)
            .await
            .unwrap();
    }

    /// The same, and then the worker's process ends.
    pub async fn report_and_die(&self, records: impl IntoIterator<Item = Record>) {
        let records = records.into_iter().map(Some).chain([None]);
        let records: Vec<_> = records.collect();
        let died = self.pool.call::<_, Value>("listed", &records).await;
        assert!(died.is_err());
    }

    /// Waits until no worker is being replaced.
    pub async fn all_ready(&self) {
        let workers = self.pool.health().workers.len();
        while self.pool.health().ready() < workers {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn text(&self, format: MetricsFormat) -> String {
        render_metrics(&self.registry, &Exemplars::default(), format).unwrap()
    }

    /// Waits until a scrape has all of these lines.
    pub async fn shows(&self, lines: &[&str]) {
        let begin = Instant::now();
        loop {
            let text = self.text(MetricsFormat::Text);
            let missing = lines
                .iter()
                .find(|line| !text.lines().any(|it| it == **line));
            let Some(missing) = missing else { return };
            assert!(begin.elapsed() < LONG, "{missing} is not in\n{text}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn has(&self, name: &str) -> bool {
        let text = self.text(MetricsFormat::Text);
        text.lines().any(|line| line.starts_with(name))
    }
}

pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

pub fn metric(name: &str, data: MetricData) -> Metric {
    Metric {
        name: name.into(),
        help: "Help.".into(),
        unit: String::new(),
        data,
    }
}

pub fn counter(name: &str, value: f64) -> Metric {
    labelled(name, labels([]), value)
}

pub fn labelled(name: &str, labels: Labels, value: f64) -> Metric {
    let series = vec![Series { labels, value }];
    metric(name, MetricData::Counter { series })
}

pub fn gauge(name: &str, aggregation: Aggregation, value: f64) -> Metric {
    let labels = labels([]);
    let series = vec![Series { labels, value }];
    metric(
        name,
        MetricData::Gauge {
            aggregation,
            series,
        },
    )
}

pub fn histogram(name: &str, counts: [u64; 3], sum: f64) -> Metric {
    let series = vec![HistogramSeries {
        labels: labels([]),
        counts: counts.into(),
        sum,
    }];
    let bounds = vec![1.0, 2.0];
    metric(name, MetricData::Histogram { bounds, series })
}

pub fn record(start: u64, metrics: impl Into<Vec<Metric>>) -> Record {
    let metrics = metrics.into();
    Record::Metrics(MetricsRecord {
        start,
        metrics,
        ..MetricsRecord::default()
    })
}

pub const REFUSED: &str = "pyproc_worker_metrics_refused_total";

/// Of the first deployment, a script's metrics; the second has other types, buckets and labels.
pub fn deployed(version: u64) -> Record {
    let metrics = match version {
        1 => [
            counter("jobs_total", 2.0),
            gauge("depth", Aggregation::Sum, 1.0),
            histogram("took_seconds", [1, 1, 0], 0.5),
        ],
        _ => [
            labelled("jobs_total", labels([("kind", "a")]), 3.0),
            counter("depth", 4.0),
            gauge("took_seconds", Aggregation::Max, 5.0),
        ],
    };
    record(version, metrics)
}

pub const OF_THE_FIRST: [&str; 3] = ["jobs_total 4", "depth 2", "took_seconds_count 4"];
