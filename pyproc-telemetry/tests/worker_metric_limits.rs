//! Which metrics of workers are refused, and the limits of all of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/reporting_pool.rs"]
mod reporting_pool;
#[path = "support/sidecar.rs"]
mod sidecar;

use reporting_pool::*;

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
