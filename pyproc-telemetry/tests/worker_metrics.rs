//! The metrics that workers report, aggregated over workers and processes.

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
