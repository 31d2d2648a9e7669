//! Metrics that workers report.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/sidecar.rs"]
mod sidecar;

use std::time::{Duration, Instant};

use pyproc_pool::{
    Pool, RestartConfig,
    protocol::v2::telemetry::{
        Aggregation, HistogramSeries, Labels, LostRecord, Metric, MetricData, MetricsRecord,
        Record, Series,
    },
};
use pyproc_telemetry::{
    Exemplars, MetricsFormat, PoolBuilderExt, PoolMetrics, PoolMetricsBuilder,
    prometheus::{IntCounterVec, IntGauge, Opts, Registry},
    render_metrics,
};
use serde_json::Value;
use sidecar::{Reply, Sockets, echo, serve};

const LONG: Duration = Duration::from_secs(60);
const RAN: Duration = Duration::from_micros(1);

/// A pool whose workers report what the test tells them to.
struct Rig {
    pool: Pool,
    registry: Registry,
    _sockets: Sockets,
}

impl Rig {
    async fn start(workers: usize) -> Self {
        Self::with(PoolMetrics::builder(), workers).await
    }

    async fn with(settings: PoolMetricsBuilder, workers: usize) -> Self {
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
    async fn report(&self, records: impl IntoIterator<Item = Record>) {
        let records: Vec<_> = records.into_iter().collect();
        self.pool
            .call::<_, Value>("listed", &records)
            .await
            .unwrap();
    }

    /// The same, and then the worker's process ends.
    async fn report_and_die(&self, records: impl IntoIterator<Item = Record>) {
        let records = records.into_iter().map(Some).chain([None]);
        let records: Vec<_> = records.collect();
        let died = self.pool.call::<_, Value>("listed", &records).await;
        assert!(died.is_err());
    }

    /// Waits until no worker is being replaced.
    async fn all_ready(&self) {
        let workers = self.pool.health().workers.len();
        while self.pool.health().ready() < workers {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn text(&self, format: MetricsFormat) -> String {
        render_metrics(&self.registry, &Exemplars::default(), format).unwrap()
    }

    /// Waits until a scrape has all of these lines.
    async fn shows(&self, lines: &[&str]) {
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

    fn has(&self, name: &str) -> bool {
        let text = self.text(MetricsFormat::Text);
        text.lines().any(|line| line.starts_with(name))
    }
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn metric(name: &str, data: MetricData) -> Metric {
    Metric {
        name: name.into(),
        help: "Help.".into(),
        unit: String::new(),
        data,
    }
}

fn counter(name: &str, value: f64) -> Metric {
    labelled(name, labels([]), value)
}

fn labelled(name: &str, labels: Labels, value: f64) -> Metric {
    let series = vec![Series { labels, value }];
    metric(name, MetricData::Counter { series })
}

fn gauge(name: &str, aggregation: Aggregation, value: f64) -> Metric {
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

fn histogram(name: &str, counts: [u64; 3], sum: f64) -> Metric {
    let series = vec![HistogramSeries {
        labels: labels([]),
        counts: counts.into(),
        sum,
    }];
    let bounds = vec![1.0, 2.0];
    metric(name, MetricData::Histogram { bounds, series })
}

fn record(start: u64, metrics: impl Into<Vec<Metric>>) -> Record {
    let metrics = metrics.into();
    Record::Metrics(MetricsRecord {
        start,
        metrics,
        ..MetricsRecord::default()
    })
}

const REFUSED: &str = "pyproc_worker_metrics_refused_total";

#[tokio::test]
async fn what_a_worker_counts_is_in_both_formats() {
    let rig = Rig::start(1).await;
    rig.report([record(
        1,
        [
            labelled("jobs", labels([("kind", "a\"b")]), 3.0),
            gauge("depth", Aggregation::None, -2.5),
            histogram("took_seconds", [1, 2, 4], 9.5),
        ],
    )])
    .await;
    rig.shows(&[
        "# HELP jobs_total Help.",
        "# TYPE jobs_total counter",
        r#"jobs_total{kind="a\"b"} 3"#,
        r#"depth{worker_id="0"} -2.5"#,
        "# TYPE took_seconds histogram",
        r#"took_seconds_bucket{le="1"} 1"#,
        r#"took_seconds_bucket{le="2"} 3"#,
        r#"took_seconds_bucket{le="+Inf"} 7"#,
        "took_seconds_sum 9.5",
        "took_seconds_count 7",
    ])
    .await;
    let open = rig.text(MetricsFormat::OpenMetrics);
    for line in [
        "# TYPE jobs counter",
        r#"jobs_total{kind="a\"b"} 3.0"#,
        r#"took_seconds_bucket{le="+Inf"} 7"#,
    ] {
        assert!(
            open.lines().any(|it| it == line),
            "{line} is not in\n{open}"
        );
    }
}

#[tokio::test]
async fn reports_are_totals_and_a_series_that_is_absent_has_not_changed() {
    let rig = Rig::start(1).await;
    rig.report([record(
        1,
        [counter("a_total", 1.0), counter("b_total", 5.0)],
    )])
    .await;
    rig.report([record(1, [counter("a_total", 4.0)])]).await;
    rig.shows(&["a_total 4", "b_total 5"]).await;
}

#[tokio::test]
async fn the_workers_of_a_pool_are_added_and_their_gauges_as_they_ask() {
    let rig = Rig::start(2).await;
    let report = |value: f64| {
        [record(
            value as u64,
            [
                counter("jobs_total", value),
                histogram("took", [1, 0, 1], value),
                gauge("sum", Aggregation::Sum, value),
                gauge("max", Aggregation::Max, value),
                gauge("min", Aggregation::Min, value),
                gauge("each", Aggregation::None, value),
            ],
        )]
    };
    // One call at a time a worker, so that each gets one.
    tokio::join!(rig.report(report(3.0)), rig.report(report(4.0)));
    rig.shows(&[
        "jobs_total 7",
        r#"took_bucket{le="1"} 2"#,
        "took_count 4",
        "took_sum 7",
        "sum 7",
        "max 4",
        "min 3",
    ])
    .await;
    let each = |worker, value| rig.has(&format!("each{{worker_id=\"{worker}\"}} {value}"));
    assert!(each(0, 3) && each(1, 4) || each(0, 4) && each(1, 3));
}

#[tokio::test]
async fn counters_survive_a_hundred_processes_and_gauges_do_not() {
    let rig = Rig::start(1).await;
    for process in 0..100 {
        let report = [
            counter("jobs_total", 2.0),
            histogram("took", [1, 1, 0], 0.5),
            gauge("depth", Aggregation::Sum, 1.0),
        ];
        rig.report_and_die([record(process, report)]).await;
    }
    rig.shows(&["jobs_total 200", "took_count 200", "took_sum 50"])
        .await;
    let begin = Instant::now();
    while rig.has("depth") {
        assert!(begin.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_connection_that_comes_back_to_the_same_process_counts_nothing_twice() {
    let rig = Rig::start(1).await;
    rig.report_and_die([record(7, [counter("jobs_total", 2.0)])])
        .await;
    rig.report([record(7, [counter("jobs_total", 3.0)])]).await;
    rig.shows(&["jobs_total 3"]).await;
    // A last word of a process that another has followed.
    rig.report([record(8, [counter("jobs_total", 1.0)])]).await;
    rig.report([record(7, [counter("jobs_total", 3.0)])]).await;
    rig.report([record(8, [counter("jobs_total", 2.0)])]).await;
    rig.shows(&["jobs_total 5"]).await;
}

#[tokio::test]
async fn a_total_that_falls_has_begun_anew() {
    let rig = Rig::start(1).await;
    for value in [5.0, 2.0, 3.0] {
        rig.report([record(1, [counter("jobs_total", value)])])
            .await;
    }
    rig.shows(&["jobs_total 8"]).await;
}

#[tokio::test]
async fn what_cannot_be_a_metric_is_refused_and_counted() {
    let rig = Rig::start(1).await;
    let many: Labels = (0..33)
        .map(|it| (format!("l{it}"), String::new()))
        .collect();
    rig.report([record(
        1,
        [
            counter("good_total", 1.0),
            counter("pyproc_requests_total", 1.0),
            counter("pyproc_request_duration_seconds_count", 1.0),
            gauge("pyproc_metrics_omitted_series", Aggregation::Sum, 1.0),
            counter("no-name", 1.0),
            counter("", 1.0),
            // Nothing would be left of the first in OpenMetrics, and a digit of the second.
            counter("_total", 1.0),
            counter("7_total", 1.0),
            counter("7", 1.0),
            // The family of the good one in OpenMetrics.
            gauge("good", Aggregation::Sum, 1.0),
            gauge("good_total", Aggregation::Sum, 1.0),
            labelled("good_total", labels([("other", "x")]), 1.0),
            labelled("reserved_total", labels([("__name__", "x")]), 1.0),
            labelled("odd_total", labels([("a-b", "x")]), 1.0),
            counter("negative_total", -1.0),
            labelled("many_total", many, 1.0),
        ],
    )])
    .await;
    rig.shows(&[
        "good_total 1",
        &format!(r#"{REFUSED}{{reason="name"}} 9"#),
        &format!(r#"{REFUSED}{{reason="kind"}} 1"#),
        &format!(r#"{REFUSED}{{reason="labels"}} 3"#),
        &format!(r#"{REFUSED}{{reason="value"}} 1"#),
        &format!(r#"{REFUSED}{{reason="limit"}} 1"#),
    ])
    .await;
    for name in ["reserved", "odd", "negative", "many", "7", "no-name"] {
        assert!(!rig.has(name), "{name}");
    }
}

/// Of the first deployment, a script's metrics; the second has other types, buckets and labels.
fn deployed(version: u64) -> Record {
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

const OF_THE_FIRST: [&str; 3] = ["jobs_total 4", "depth 2", "took_seconds_count 4"];

#[tokio::test]
async fn a_script_deployed_anew_may_have_metrics_of_another_shape() {
    let rig = Rig::start(1).await;
    rig.report_and_die([deployed(1)]).await;
    rig.report([deployed(2)]).await;
    let anew = [
        r#"jobs_total{kind="a"} 3"#,
        "depth_total 4",
        "took_seconds 5",
    ];
    rig.shows(&anew).await;
    for name in ["jobs_total 2", "depth 1", "took_seconds_count"] {
        assert!(!rig.has(name), "{name}");
    }
    let refused = ["kind", "labels", "name"].map(|it| format!(r#"{REFUSED}{{reason="{it}"}} 0"#));
    rig.shows(&refused.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn metrics_keep_their_shape_while_a_worker_is_there_that_reports_it() {
    let rig = Rig::start(2).await;
    // One call at a time a worker, so that each gets one.
    let both = async |version| {
        rig.all_ready().await;
        tokio::join!(
            rig.report([deployed(version)]),
            rig.report([deployed(version)])
        )
    };
    both(1).await;
    rig.shows(&OF_THE_FIRST).await;
    rig.report_and_die([]).await;
    both(2).await;
    let refused = format!(r#"{REFUSED}{{reason="labels"}} 2"#);
    rig.shows(&["jobs_total 4", &refused]).await;
    rig.all_ready().await;
    tokio::join!(rig.report_and_die([]), rig.report_and_die([]));
    both(2).await;
    rig.shows(&[r#"jobs_total{kind="a"} 6"#, "took_seconds 5"])
        .await;
}

#[tokio::test]
async fn a_worker_cannot_take_a_name_that_the_service_has() {
    let rig = Rig::start(1).await;
    let depth = IntGauge::new("depth", "The service's own.").unwrap();
    depth.set(7);
    // It has no series yet.
    let jobs = IntCounterVec::new(Opts::new("jobs_total", "Its own."), &["kind"]).unwrap();
    rig.registry.register(Box::new(depth)).unwrap();
    rig.registry.register(Box::new(jobs.clone())).unwrap();
    let report = || {
        [record(
            1,
            [
                counter("jobs", 1.0),
                histogram("depth", [1, 2, 4], 9.5),
                counter("free_total", 1.0),
                counter("later_total", -1.0),
            ],
        )]
    };
    rig.report(report()).await;
    rig.report(report()).await;
    let refused = format!(r#"{REFUSED}{{reason="name"}} 4"#);
    rig.shows(&["depth 7", "free_total 1", &refused]).await;
    jobs.with_label_values(&["a"]).inc();
    let text = rig.text(MetricsFormat::Text);
    let of_jobs = text.lines().filter(|it| it.starts_with("jobs_total"));
    assert_eq!(of_jobs.collect::<Vec<_>>(), [r#"jobs_total{kind="a"} 1"#]);
    // What was asked for and refused leaves no trace: other help and labels are possible.
    let later = IntCounterVec::new(Opts::new("later_total", "Later."), &["kind"]).unwrap();
    rig.registry.register(Box::new(later)).unwrap();
}

#[tokio::test]
async fn all_workers_metrics_together_have_a_bounded_number_of_series() {
    let rig = Rig::start(1).await;
    for part in 0..11 {
        let series = (0..1000).map(|number| Series {
            labels: labels([("user", &format!("{part}-{number}"))]),
            value: 1.0,
        });
        let series = series.collect();
        rig.report([record(
            1,
            [metric("users_total", MetricData::Counter { series })],
        )])
        .await;
    }
    rig.shows(&[&format!(r#"{REFUSED}{{reason="limit"}} 1000"#)])
        .await;
    let text = rig.text(MetricsFormat::Text);
    let series = text.lines().filter(|it| it.starts_with("users_total"));
    assert_eq!(series.count(), 10_000);
}

#[tokio::test]
async fn all_workers_metrics_together_have_a_bounded_number_of_bytes() {
    let rig = Rig::start(1).await;
    let bounds: Vec<_> = (0..128).map(f64::from).collect();
    for part in 0..10 {
        // Each of the 131 lines of a series repeats these labels.
        let series = (0..10).map(|number| HistogramSeries {
            labels: labels([("user", &format!("{part}-{number}-{}", "x".repeat(4_000)))]),
            counts: vec![1; 129],
            sum: 1.0,
        });
        let (bounds, series) = (bounds.clone(), series.collect());
        let took = metric("took", MetricData::Histogram { bounds, series });
        rig.report([record(1, [took])]).await;
    }
    rig.report([record(1, [gauge("last", Aggregation::Sum, 1.0)])])
        .await;
    let refused = format!(r#"{REFUSED}{{reason="limit"}} "#);
    for format in [MetricsFormat::Text, MetricsFormat::OpenMetrics] {
        rig.shows(&["last 1"]).await;
        let text = rig.text(format);
        assert!((16 << 20..33 << 20).contains(&text.len()), "{}", text.len());
        let lines = || text.lines();
        let count = lines().find_map(|it| it.strip_prefix(&refused)).unwrap();
        let count: f64 = count.parse().unwrap();
        let taken = lines().filter(|it| it.starts_with("took_count")).count();
        assert_eq!(taken + count as usize, 100);
        assert!(!text.contains("omitted"));
    }
}

#[tokio::test]
async fn a_gauge_that_each_worker_has_counts_once_for_each() {
    let rig = Rig::start(2).await;
    let report = || {
        let series = (0..6_000).map(|number| Series {
            labels: labels([("user", &number.to_string())]),
            value: 1.0,
        });
        let (aggregation, series) = (Aggregation::None, series.collect());
        [record(
            1,
            [metric(
                "depth",
                MetricData::Gauge {
                    aggregation,
                    series,
                },
            )],
        )]
    };
    // One call at a time a worker, so that each gets one.
    tokio::join!(rig.report(report()), rig.report(report()));
    rig.shows(&[&format!(r#"{REFUSED}{{reason="limit"}} 2000"#)])
        .await;
    let text = rig.text(MetricsFormat::Text);
    let series = text.lines().filter(|it| it.starts_with("depth{"));
    assert_eq!(series.count(), 10_000);
}

#[tokio::test]
async fn a_histogram_without_bounds_has_a_count_and_a_sum() {
    let rig = Rig::start(1).await;
    let series = vec![HistogramSeries {
        labels: labels([]),
        counts: vec![3],
        sum: 4.5,
    }];
    let bounds = Vec::new();
    let took = metric("took", MetricData::Histogram { bounds, series });
    rig.report([record(1, [took])]).await;
    rig.shows(&[
        r#"took_bucket{le="+Inf"} 3"#,
        "took_count 3",
        "took_sum 4.5",
    ])
    .await;
}

#[tokio::test]
async fn the_label_of_a_pool_is_on_its_workers_metrics_and_cannot_be_theirs() {
    let settings = PoolMetrics::builder().label("pool", "a");
    let rig = Rig::with(settings, 1).await;
    let theirs = labelled("theirs_total", labels([("pool", "b")]), 1.0);
    rig.report([record(1, [counter("jobs_total", 1.0), theirs])])
        .await;
    rig.shows(&[
        r#"jobs_total{pool="a"} 1"#,
        &format!(r#"{REFUSED}{{pool="a",reason="labels"}} 1"#),
    ])
    .await;
}

#[tokio::test]
async fn what_workers_lost_is_counted() {
    let rig = Rig::start(1).await;
    let lost = |logs, spans| Record::Lost(LostRecord { logs, spans });
    rig.report([lost(3, 1), lost(2, 0)]).await;
    rig.shows(&[
        r#"pyproc_worker_records_lost_total{record="log"} 5"#,
        r#"pyproc_worker_records_lost_total{record="span"} 1"#,
    ])
    .await;
}

#[tokio::test]
async fn no_count_wraps_whatever_workers_say() {
    let rig = Rig::start(1).await;
    let most = u64::MAX;
    let lost = |logs, spans| Record::Lost(LostRecord { logs, spans });
    let report = |start| {
        let metrics = [
            counter("jobs_total", f64::MAX),
            histogram("took", [most, most, 1], -f64::MAX),
            gauge("depth", Aggregation::Sum, f64::MAX),
        ];
        [record(start, metrics), lost(most, most)]
    };
    for start in 0..3 {
        rig.report(report(start)).await;
    }
    rig.report([lost(7, 7)]).await;
    let (all, largest) = (most as f64, f64::MAX);
    rig.shows(&[
        &format!("jobs_total {largest}"),
        &format!(r#"took_bucket{{le="1"}} {all}"#),
        &format!("took_count {all}"),
        &format!("took_sum -{largest}"),
        &format!("depth {largest}"),
        &format!(r#"pyproc_worker_records_lost_total{{record="log"}} {all}"#),
        &format!(r#"pyproc_worker_records_lost_total{{record="span"}} {all}"#),
    ])
    .await;
}
