//! The metrics of a pool.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/python.rs"]
mod python;
#[path = "support/sidecar.rs"]
mod sidecar;

use std::{
    future::Future,
    task::{Context as TaskContext, Waker},
    time::{Duration, Instant},
};

use opentelemetry::trace::{TraceContextExt, Tracer as _};
use pyproc_pool::{
    Pool, PoolBuilder, RemoteException, RestartConfig,
    protocol::{
        Failure,
        v2::{Request, Response},
    },
};
use pyproc_telemetry::{
    Exemplars, MemorySpans, MetricsFormat, PoolBuilderExt, PoolMetrics, Provider, Telemetry,
    prometheus::Registry, render_metrics,
};
use serde_json::{Value, json};
use sidecar::{Reply, Sockets, echo, serve, serve_old};

const RAN: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(60);

fn scrape(registry: &Registry) -> String {
    render_metrics(registry, &Exemplars::default(), MetricsFormat::Text).unwrap()
}

/// The value of a series; its labels in the order of their names.
fn value(registry: &Registry, series: &str) -> Option<f64> {
    let text = scrape(registry);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < LONG, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One worker that answers so.
fn served(
    sockets: &Sockets,
    reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> PoolBuilder {
    let socket = sockets.path("worker.sock");
    serve(&socket, reply);
    let at_once = RestartConfig {
        initial_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        ..RestartConfig::default()
    };
    Pool::builder()
        .external_sockets([&socket])
        .request_timeout(LONG)
        .restart(at_once)
}

#[tokio::test]
async fn what_a_function_raised_and_what_a_worker_refused_are_counted_apart() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let builder = served(&sockets, |request| {
        let failure = Failure {
            type_name: serde_json::from_slice(&request.body.bytes).unwrap(),
            ..Failure::default()
        };
        Reply::Answer(Response::failure(request.id, failure))
    });
    let pool = builder.with_metrics(&metrics).start().await.unwrap();
    for (raised, kind) in [
        ("KeyError", "function_error"),
        (RemoteException::INVALID_REQUEST, "invalid_request"),
        (RemoteException::METHOD_NOT_FOUND, "not_found"),
    ] {
        assert!(pool.call::<_, Value>("listed", raised).await.is_err());
        let series =
            format!(r#"pyproc_request_errors_total{{function_name="listed",kind="{kind}"}}"#);
        assert_eq!(value(&registry, &series), Some(1.0), "{kind}");
    }
}

#[tokio::test]
async fn calls_are_counted_under_the_names_buckets_and_labels_of_the_guide() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let builder = served(&sockets, |request| {
        std::thread::sleep(RAN);
        echo(request, RAN)
    });
    let pool = builder.with_metrics(&metrics).start().await.unwrap();
    let watch = metrics.watch(&pool);
    for _ in 0..3 {
        pool.call::<_, Value>("listed", &json!("abc"))
            .await
            .unwrap();
    }
    assert!(pool.call::<_, u8>("listed", &json!("abc")).await.is_err());

    let text = scrape(&registry);
    for line in [
        r#"pyproc_requests_total{function_name="listed",status="success"} 3"#,
        r#"pyproc_requests_total{function_name="listed",status="error"} 1"#,
        r#"pyproc_request_errors_total{function_name="listed",kind="decode"} 1"#,
        r#"pyproc_request_duration_seconds_count{function_name="listed"} 4"#,
        r#"pyproc_request_queue_seconds_count{function_name="listed"} 4"#,
        r#"pyproc_request_transport_seconds_count{function_name="listed"} 4"#,
        r#"pyproc_request_execution_seconds_bucket{function_name="listed",le="0.001"} 0"#,
        r#"pyproc_request_execution_seconds_bucket{function_name="listed",le="0.01"} 4"#,
        r#"pyproc_request_bytes_total{function_name="listed"} 20"#,
        r#"pyproc_response_bytes_total{function_name="listed"} 20"#,
        r#"pyproc_requests_in_flight{worker_id="0"} 0"#,
        r#"pyproc_workers_total{status="active"} 1"#,
        r#"pyproc_workers_total{status="crashed"} 0"#,
        r#"pyproc_workers_total{status="restarting"} 0"#,
        r#"pyproc_worker_restarts_total{reason="crash",worker_id="0"} 0"#,
        r#"pyproc_worker_restarts_total{reason="health_check",worker_id="0"} 0"#,
        "pyproc_pool_queue_length 0",
        "pyproc_pool_capacity 1",
        "pyproc_pool_connections 1",
    ] {
        assert!(
            text.lines().any(|it| it == line),
            "{line} is not in\n{text}"
        );
    }
    let buckets: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pyproc_request_duration_seconds_bucket"))
        .map(|line| line.split('"').nth(3).unwrap().to_owned())
        .collect();
    let expected = [
        "0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1", "5", "+Inf",
    ];
    assert_eq!(buckets, expected);

    // A second scrape counts nothing twice, and the counters outlive the pool.
    drop(watch);
    pool.shutdown(Duration::ZERO).await;
    let requests = r#"pyproc_requests_total{function_name="listed",status="success"}"#;
    assert_eq!(value(&registry, requests), Some(3.0));
    assert_eq!(value(&registry, "pyproc_pool_capacity"), None);
}

#[tokio::test]
async fn made_up_names_make_no_series() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::builder().functions(["known"]);
    let metrics = metrics.register(&registry).unwrap();
    let builder = served(&sockets, |request| echo(request, RAN));
    let pool = builder.with_metrics(&metrics).start().await.unwrap();
    let call = async |name: &str| pool.call::<_, Value>(name, &1).await.unwrap();
    call("listed").await;
    call("known").await;
    call("made up 0").await;
    let series = scrape(&registry).lines().count();
    for number in 1..10_000 {
        call(&format!("made up {number}")).await;
    }
    assert_eq!(scrape(&registry).lines().count(), series);
    for (name, calls) in [("listed", 1.0), ("known", 1.0), ("unknown", 10_000.0)] {
        let series = format!(r#"pyproc_requests_total{{function_name="{name}",status="success"}}"#);
        assert_eq!(value(&registry, &series), Some(calls), "{name}");
    }
}

/// A pool of a worker that lists no functions.
fn old(sockets: &Sockets) -> PoolBuilder {
    let socket = sockets.path("old.sock");
    serve_old(&socket);
    Pool::builder()
        .external_sockets([&socket])
        .request_timeout(LONG)
}

#[tokio::test]
async fn functions_of_an_old_worker_have_names_once_it_answered_and_made_up_ones_have_none() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let pool = old(&sockets).with_metrics(&metrics).start().await.unwrap();
    for number in 0..1_000 {
        let name = format!("made up {number}");
        pool.call::<_, Value>(&name, &1).await.unwrap_err();
    }
    for _ in 0..3 {
        pool.call::<_, Value>("predict", &1).await.unwrap();
    }
    // The caller cannot read the answer, but there is one.
    pool.call::<_, String>("classify", &1).await.unwrap_err();
    for (name, status, calls) in [
        ("unknown", "error", 1_000.0),
        ("predict", "success", 3.0),
        ("classify", "error", 1.0),
    ] {
        let series =
            format!(r#"pyproc_requests_total{{function_name="{name}",status="{status}"}}"#);
        assert_eq!(value(&registry, &series), Some(calls), "{name}");
    }
    assert!(!scrape(&registry).contains("made up"));
}

#[tokio::test]
async fn an_old_worker_that_answers_any_name_makes_a_bounded_number_of_series() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let pool = old(&sockets).with_metrics(&metrics).start().await.unwrap();
    for number in 0..1_000 {
        let name = format!("anything {number}");
        pool.call::<_, Value>(&name, &1).await.unwrap();
    }
    let text = scrape(&registry);
    let series = r#"pyproc_requests_total{function_name="anything "#;
    let successes = text.lines().filter(|it| it.starts_with(series));
    assert_eq!(successes.filter(|it| it.ends_with(" 1")).count(), 256);
    let unknown = r#"pyproc_requests_total{function_name="unknown",status="success"}"#;
    assert_eq!(value(&registry, unknown), Some(744.0));
}

#[tokio::test]
async fn counters_are_right_over_many_restarts() {
    const RESTARTS: usize = 100;
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let builder = served(&sockets, |request| match &*request.body.bytes {
        b"0" => Reply::Die,
        _ => echo(request, RAN),
    });
    let pool = builder.with_metrics(&metrics).start().await.unwrap();
    let _watch = metrics.watch(&pool);
    let restarts = r#"pyproc_worker_restarts_total{reason="crash",worker_id="0"}"#;
    for number in 0..RESTARTS {
        pool.call::<_, Value>("listed", &1).await.unwrap();
        assert!(pool.call::<_, Value>("listed", &0).await.is_err());
        until("the worker is back", || {
            value(&registry, restarts) == Some((number + 1) as f64)
        })
        .await;
    }
    for (status, calls) in [("success", RESTARTS), ("error", RESTARTS)] {
        let series =
            format!(r#"pyproc_requests_total{{function_name="listed",status="{status}"}}"#);
        assert_eq!(value(&registry, &series), Some(calls as f64));
    }
    let kinds = r#"pyproc_request_errors_total{function_name="listed",kind="worker_unavailable"}"#;
    assert_eq!(value(&registry, kinds), Some(RESTARTS as f64));
    let workers = scrape(&registry);
    let workers = workers
        .lines()
        .filter(|it| it.starts_with("pyproc_requests_in_flight{"));
    assert_eq!(workers.count(), 1, "a slot is one series");
}

#[tokio::test]
async fn gauges_show_the_pool_at_each_scrape() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let builder = served(&sockets, |_| Reply::Never).max_in_flight(1);
    let pool = builder.with_metrics(&metrics).start().await.unwrap();
    let _watch = metrics.watch(&pool);
    let mut calls: Vec<_> = (0..3)
        .map(|_| Box::pin(pool.call::<_, Value>("listed", &1)))
        .collect();
    let mut context = TaskContext::from_waker(Waker::noop());
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut context).is_pending());
    }
    let in_flight = r#"pyproc_requests_in_flight{worker_id="0"}"#;
    assert_eq!(value(&registry, in_flight), Some(1.0));
    assert_eq!(value(&registry, "pyproc_pool_queue_length"), Some(2.0));
    assert_eq!(value(&registry, "pyproc_pool_calls_capacity"), Some(1.0));
    drop(calls);
    assert_eq!(value(&registry, "pyproc_pool_queue_length"), Some(0.0));
    let dropped = r#"pyproc_request_errors_total{function_name="listed",kind="abandoned"}"#;
    assert_eq!(value(&registry, dropped), Some(3.0));
}

#[tokio::test]
async fn a_watch_does_not_keep_its_pool_alive() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let builder = served(&sockets, |request| echo(request, RAN));
    let pool = builder.with_metrics(&metrics).start().await.unwrap();
    let _watch = metrics.watch(&pool);
    assert_eq!(value(&registry, "pyproc_pool_capacity"), Some(1.0));
    let weak = pool.downgrade();
    drop(pool);
    assert!(weak.upgrade().is_none());
    assert_eq!(value(&registry, "pyproc_pool_capacity"), None);
}

#[tokio::test]
async fn a_tracer_and_metrics_that_are_attached_apart_both_see_a_call() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let spans = MemorySpans::default();
    let provider = Provider::builder().enabled(true).in_memory(&spans);
    let provider = provider.start().unwrap();
    let builder = served(&sockets, |request| echo(request, RAN));
    let builder = builder
        .with_tracer(provider.tracer("t"))
        .with_metrics(&metrics);
    let pool = builder.start().await.unwrap();
    pool.call::<_, Value>("listed", &1).await.unwrap();
    assert_eq!(spans.finished().len(), 2);
    let requests = r#"pyproc_requests_total{function_name="listed",status="success"}"#;
    assert_eq!(value(&registry, requests), Some(1.0));
}

#[tokio::test]
async fn a_watch_that_ends_leaves_a_later_one_alone() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let metrics = PoolMetrics::register(&registry).unwrap();
    let builder = served(&sockets, |request| echo(request, RAN));
    let pool = builder.start().await.unwrap();
    let first = metrics.watch(&pool);
    let second = metrics.watch(&pool);
    drop(first);
    assert_eq!(value(&registry, "pyproc_pool_capacity"), Some(1.0));
    drop(second);
    assert_eq!(value(&registry, "pyproc_pool_capacity"), None);
}

#[tokio::test]
async fn a_duration_names_a_trace_that_was_exported() {
    let (sockets, registry) = (Sockets::new(), Registry::new());
    let exemplars = Exemplars::default();
    let metrics = PoolMetrics::builder()
        .exemplars(&exemplars)
        .label("pool", "main")
        .register(&registry)
        .unwrap();
    let spans = MemorySpans::default();
    let provider = Provider::builder().enabled(true).sampling_rate(1.0);
    let provider = provider.in_memory(&spans).start().unwrap();
    let both = Telemetry::default()
        .tracer(provider.tracer("t"))
        .metrics(&metrics);
    let builder = served(&sockets, |request| echo(request, RAN));
    let pool = builder.with_telemetry(both).start().await.unwrap();
    let root = provider.tracer("t").start("root");
    let guard = opentelemetry::Context::new().with_span(root).attach();
    pool.call::<_, Value>("listed", &1).await.unwrap();
    drop(guard);
    let text = render_metrics(&registry, &exemplars, MetricsFormat::OpenMetrics).unwrap();
    let trace = spans.finished()[0].span_context.trace_id();
    let named = format!("trace_id=\"{trace}\"");
    let line = text.lines().find(|line| line.contains(&named)).unwrap();
    assert!(
        line.starts_with(r#"pyproc_request_duration_seconds_bucket{"#),
        "{line}"
    );
    assert!(line.contains(r#"pool="main""#), "{line}");
}

#[tokio::test]
async fn pools_share_a_registry_when_labels_tell_them_apart() {
    let registry = Registry::new();
    let labelled = |pool: &str| {
        PoolMetrics::builder()
            .label("pool", pool)
            .functions(["f"])
            .register(&registry)
    };
    labelled("a").unwrap();
    labelled("b").unwrap();
    assert!(labelled("a").is_err());
    let series = r#"pyproc_requests_total{function_name="f",pool="b",status="success"}"#;
    assert_eq!(value(&registry, series), Some(0.0));
    assert!(
        PoolMetrics::builder()
            .buckets([2.0, 1.0])
            .register(&Registry::new())
            .is_err()
    );
}

#[tokio::test]
async fn pools_that_are_used_in_turn_count_each_for_itself() {
    let rigs = [
        (Sockets::new(), Registry::new()),
        (Sockets::new(), Registry::new()),
    ];
    let mut pools = Vec::new();
    for (sockets, registry) in &rigs {
        let metrics = PoolMetrics::builder().functions(["known"]);
        let metrics = metrics.register(registry).unwrap();
        let builder = served(sockets, |request| echo(request, RAN));
        pools.push(builder.with_metrics(&metrics).start().await.unwrap());
    }
    for _ in 0..10 {
        for (pool, functions) in pools.iter().zip([&["listed", "known"][..], &["known"]]) {
            for function in functions {
                pool.call::<_, Value>(function, &1).await.unwrap();
            }
        }
    }
    let known = r#"pyproc_requests_total{function_name="known",status="success"}"#;
    let listed = r#"pyproc_requests_total{function_name="listed",status="success"}"#;
    let counts = rigs
        .each_ref()
        .map(|(_, registry)| (value(registry, known), value(registry, listed)));
    assert_eq!(counts, [(Some(10.0), Some(10.0)), (Some(10.0), None)]);
}

#[tokio::test]
async fn python_processes_are_measured_and_their_deaths_counted() {
    let registry = Registry::new();
    let metrics = PoolMetrics::register(&registry).unwrap();
    let pool = python::shop().with_metrics(&metrics).start().await.unwrap();
    let _watch = metrics.watch(&pool);
    pool.call::<_, Value>("price", &json!({"count": 1}))
        .await
        .unwrap();
    let price = r#"pyproc_requests_total{function_name="price",status="success"}"#;
    assert_eq!(value(&registry, price), Some(1.0));
    if cfg!(target_os = "linux") {
        let memory = r#"pyproc_worker_resident_memory_bytes{worker_id="0"}"#;
        assert!(value(&registry, memory).unwrap() > 1_000_000.0);
        let cpu = r#"pyproc_worker_cpu_seconds_total{worker_id="0"}"#;
        assert!(value(&registry, cpu).is_some());
    }
    assert!(pool.call::<_, Value>("die", &1).await.is_err());
    let restarts = r#"pyproc_worker_restarts_total{reason="crash",worker_id="0"}"#;
    until("another worker is there", || {
        value(&registry, restarts) == Some(1.0)
    })
    .await;
}
