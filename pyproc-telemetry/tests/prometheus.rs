//! What Prometheus itself makes of our metrics.
//!
//! Needs `prometheus` and `promtool`, in the directory of `PYPROC_PROMETHEUS` or on `PATH`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not do"
)]

#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/sidecar.rs"]
mod sidecar;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use prometheus::{Programs, Prometheus};
use pyproc_pool::{
    Pool, PoolBuilder,
    protocol::{
        Failure,
        v2::{
            Request, Response,
            telemetry::{Labels, Metric, MetricData, MetricsRecord, Record, Series},
        },
    },
};
use pyproc_telemetry::{
    Exemplars, MetricsFormat, PoolBuilderExt, PoolMetrics,
    http::{Endpoints, Server, ServerConfig},
    prometheus::Registry,
    render_metrics,
};
use serde_json::Value;
use sidecar::{Reply, Sockets, echo, serve};

const LONG: Duration = Duration::from_secs(60);

/// How long the calls take, in milliseconds, and how many of each there are.
const CALLS: [(u64, usize); 3] = [(2, 60), (20, 35), (200, 5)];
const FAILED: usize = 25;
const ALL: f64 = 100.0;

/// A worker that takes as long as the input says, fails if it is below zero, and reports a metric of its own.
fn shop(sockets: &Sockets) -> PoolBuilder {
    let socket = sockets.path("worker.sock");
    serve(&socket, |request| {
        let input: i64 = serde_json::from_slice(&request.body.bytes).unwrap();
        let took = Duration::from_millis(input.unsigned_abs());
        std::thread::sleep(took);
        let end = match input < 0 {
            false => echo(request, took),
            true => sold_out(request),
        };
        Reply::After(vec![report()], Box::new(end))
    });
    Pool::builder()
        .external_sockets([&socket])
        .request_timeout(LONG)
}

fn sold_out(request: &Request) -> Reply {
    let failure = Failure {
        type_name: "shop.SoldOut".into(),
        message: "none left".into(),
        traceback: String::new(),
        retryable: false,
    };
    Reply::Answer(Response::failure(request.id, failure))
}

fn report() -> Record {
    let series = vec![Series {
        labels: Labels::from([("kind".into(), "a \"quoted\" one".into())]),
        value: 3.0,
    }];
    let jobs = Metric {
        name: "shop_orders_total".into(),
        help: "Orders.".into(),
        unit: String::new(),
        data: MetricData::Counter { series },
    };
    Record::Metrics(MetricsRecord {
        start: 1,
        metrics: vec![jobs],
        ..MetricsRecord::default()
    })
}

async fn calls(pool: &Pool) {
    let takes = CALLS
        .iter()
        .flat_map(|(millis, count)| std::iter::repeat_n(i64::try_from(*millis).unwrap(), *count));
    for (number, millis) in takes.enumerate() {
        let fails = number < FAILED;
        let input = if fails { -millis } else { millis };
        let result = pool.call::<_, Value>("listed", &input).await;
        assert_eq!(result.is_err(), fails);
    }
}

#[tokio::test]
async fn prometheus_answers_the_queries_of_the_guide_as_the_calls_were_made() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::builder().functions(["listed"]);
    let metrics = metrics.register(&registry).unwrap();
    let pool = shop(&sockets).with_metrics(&metrics).start().await.unwrap();
    let _watch = metrics.watch(&pool);
    let config = ServerConfig {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..ServerConfig::default()
    };
    let server = Server::bind(config, Endpoints::new(registry.clone()))
        .await
        .unwrap();
    let prometheus = Prometheus::start(&programs, server.local_addr());

    // The series were seen at zero, so that every call is seen as a change.
    prometheus
        .until("sum(pyproc_requests_total)", |it| it == 0.0)
        .await;
    calls(&pool).await;
    prometheus
        .until("sum(pyproc_requests_total)", |it| it == ALL)
        .await;
    let scrapes = "count_over_time(pyproc_pool_capacity[5m])";
    prometheus.until(scrapes, |it| it >= 20.0).await;

    // Of what it saw, Prometheus extrapolates to the time between two scrapes at either end.
    let rate = prometheus
        .value("sum(rate(pyproc_requests_total[5m]))")
        .await;
    let (least, most) = (ALL / 300.0, 1.5 * ALL / 300.0);
    assert!((least..most).contains(&rate), "{rate}");
    let share = prometheus
        .value(
            r#"sum(rate(pyproc_requests_total{status="error"}[5m])) / sum(rate(pyproc_requests_total[5m]))"#,
        )
        .await;
    assert!((share - FAILED as f64 / ALL).abs() < 1e-6, "{share}");

    let text = render_metrics(&registry, &Exemplars::default(), MetricsFormat::Text).unwrap();
    for (quantile, at_least) in [(0.50, 0.001), (0.95, 0.01), (0.99, 0.1)] {
        let query = format!(
            "histogram_quantile({quantile}, rate(pyproc_request_duration_seconds_bucket[5m]))"
        );
        let found = prometheus.value(&query).await;
        let expected = quantile_of(&text, quantile);
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        assert!(found > at_least, "{quantile} is {found}");
    }
    assert_eq!(prometheus.value("shop_orders_total").await, 3.0);
    assert_eq!(prometheus.value("up").await, 1.0);
    pool.shutdown(LONG).await;
}

/// A quantile by Prometheus' rule: in its bucket, as if the calls were spread over it.
fn quantile_of(text: &str, quantile: f64) -> f64 {
    let lines = text.lines();
    let buckets = lines.filter_map(|it| it.strip_prefix("pyproc_request_duration_seconds_bucket{"));
    let buckets: Vec<(f64, f64)> = buckets
        .map(|line| {
            let (_, bound) = line.split_once("le=\"").unwrap();
            let (bound, count) = bound.split_once("\"} ").unwrap();
            (bound.parse().unwrap(), count.parse().unwrap())
        })
        .collect();
    let rank = quantile * buckets.last().unwrap().1;
    let place = buckets.iter().position(|(_, count)| *count >= rank);
    let place = place.unwrap();
    let (upper, count) = buckets[place];
    let (lower, below) = match place {
        0 => (0.0, 0.0),
        place => buckets[place - 1],
    };
    lower + (upper - lower) * (rank - below) / (count - below)
}

#[tokio::test]
async fn promtool_finds_nothing_to_say_about_our_metrics_but_a_name_of_the_guide() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let pool = shop(&sockets).with_metrics(&metrics).start().await.unwrap();
    let _watch = metrics.watch(&pool);
    pool.call::<_, Value>("listed", &1).await.unwrap();
    let begin = Instant::now();
    let text = loop {
        let text = render_metrics(&registry, &Exemplars::default(), MetricsFormat::Text).unwrap();
        if text.contains("shop_orders_total") {
            break text;
        }
        assert!(begin.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let said = programs.check_metrics(&text);
    let said: Vec<_> = said.lines().collect();
    // A gauge of that name is what the guide asks for.
    let expected = r#"pyproc_workers_total non-counter metrics should not have "_total" suffix"#;
    assert_eq!(said, [expected]);
    pool.shutdown(LONG).await;
}

#[tokio::test]
async fn prometheus_understands_the_dashboard_and_the_alerts() {
    let Some(programs) = Programs::find() else {
        return;
    };
    let dashboards = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");
    programs.check_config(&format!("{dashboards}/prometheus.yml"));
    programs.test_rules(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/support/alerts_test.yml"
    ));

    let board = std::fs::read_to_string(format!("{dashboards}/grafana.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let queries: Vec<_> = panels
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .map(|it| {
            it.replace("$__rate_interval", "5m")
                .replace("$function", ".*")
        })
        .collect();
    assert!(queries.len() > 15);
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let prometheus = Prometheus::start(&programs, nobody);
    prometheus.until("vector(1)", |it| it == 1.0).await;
    for query in queries {
        // It panics over what it cannot parse.
        prometheus.ask(&query).await;
    }
}
