//! From a service through the pool into Python and back, to a collector that decodes what arrives.
//!
//! Needs a Python with the package and OpenTelemetry's API: that of `PYPROC_PYTHON_EXEC`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not do"
)]

#[cfg(feature = "grpc")]
#[path = "support/grpc.rs"]
mod grpc;
#[path = "support/python.rs"]
mod python;
mod support;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    future::Future,
    path::PathBuf,
    pin::pin,
    process::Command,
    task::{Context as TaskContext, Waker},
    time::{Duration, Instant},
};

use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    trace::{FutureExt as _, TraceContextExt, Tracer as _},
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use pyproc_pool::{Pool, PoolBuilder, RestartConfig};
use pyproc_telemetry::{
    Exemplars, ExportStats, MetricsFormat, PoolBuilderExt, PoolMetrics, PropagatorType, Provider,
    ProviderBuilder, Telemetry, prometheus::Registry, render_metrics,
};
use serde_json::{Value, json};
use support::{Collector, LONG, nobody, text};

const APPLICATION: &str = "process_request";
const CALL: &str = "pyproc.pool.call";
const EXECUTE: &str = "pyproc.worker.execute";

/// An input without any wishes.
static NOTHING: BTreeMap<&str, &str> = BTreeMap::new();

/// Whichever loop the worker chooses.
const ANY: &str = "";

/// Both loops of the worker where the runner asks for them.
fn cores() -> Vec<String> {
    let cores = env::var("PYPROC_TEST_CORES").unwrap_or_default();
    let cores = cores.split(',').filter(|it| !it.is_empty());
    let cores: Vec<_> = cores.map(str::to_owned).collect();
    match cores.is_empty() {
        true => vec![ANY.to_owned()],
        false => cores,
    }
}

/// Whether the worker's Python has OpenTelemetry. The runner of all tests sees to it; without, a plain `cargo test` says so.
fn ready() -> bool {
    let named = env::var_os("PYPROC_PYTHON_EXEC");
    let python = named.clone().unwrap_or_else(|| OsString::from("python3"));
    let mut import = Command::new(&python);
    let there = import.args(["-c", "import opentelemetry.trace"]).output();
    let there = there.is_ok_and(|it| it.status.success());
    assert!(there || named.is_none(), "{python:?} has no opentelemetry");
    if !there {
        eprintln!("not run: {python:?} has no opentelemetry");
    }
    there
}

fn traced(core: &str) -> PoolBuilder {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/traced.py");
    let builder = python::shop().worker_script(script);
    match core {
        ANY => builder,
        core => builder.env("PYPROC_WORKER_CORE", core),
    }
}

/// A collector, however it is reached.
enum Receiver {
    Http(Collector),
    #[cfg(feature = "grpc")]
    Grpc(grpc::Collector, String),
}

impl Receiver {
    fn all() -> Vec<Self> {
        vec![
            Self::Http(Collector::start()),
            #[cfg(feature = "grpc")]
            {
                let (collector, address) = grpc::Collector::start(|_| Some(Ok(0)));
                Self::Grpc(collector, format!("http://{address}"))
            },
        ]
    }

    fn provider(&self) -> ProviderBuilder {
        let provider = Provider::builder()
            .service_name("shop")
            .enabled(true)
            .timeout(LONG)
            .shutdown_timeout(LONG);
        match self {
            Self::Http(collector) => provider.endpoint(collector.endpoint()),
            #[cfg(feature = "grpc")]
            Self::Grpc(_, address) => provider
                .protocol(pyproc_telemetry::OtlpProtocol::Grpc)
                .endpoint(address.clone()),
        }
    }

    fn spans(&self) -> Vec<Span> {
        match self {
            Self::Http(collector) => collector.spans(),
            #[cfg(feature = "grpc")]
            Self::Grpc(collector, _) => collector.spans(),
        }
    }
}

/// One service with a pool that traces to a collector.
struct Service {
    pool: Pool,
    provider: Provider,
}

impl Service {
    async fn start(builder: PoolBuilder, provider: ProviderBuilder) -> Self {
        let provider = provider.start().unwrap();
        let pool = builder.with_tracer(provider.tracer("shop"));
        Self {
            pool: pool.start().await.unwrap(),
            provider,
        }
    }

    /// Does it within a span of the application.
    async fn within_a_span<T>(&self, work: impl Future<Output = T>) -> T {
        let span = self.provider.tracer("shop").start(APPLICATION);
        let context = Context::current_with_span(span);
        let result = work.with_context(context.clone()).await;
        context.span().end();
        result
    }

    async fn call(&self, input: Value) -> Result<Value, pyproc_pool::Error> {
        self.within_a_span(self.pool.call("order", &input)).await
    }

    /// Ends as a service does. Nothing may be lost by it.
    async fn end(self) -> ExportStats {
        self.pool.shutdown(LONG).await;
        let stats = self.provider.shutdown().await.unwrap();
        assert_eq!(stats.lost(), 0, "{stats:?}");
        stats
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next();
    assert!(found.next().is_none(), "more than one {name}");
    span.unwrap_or_else(|| panic!("no {name} in {:?}", names(spans)))
}

fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// The second lies within the first, and below it.
fn assert_child(parent: &Span, child: &Span) {
    assert_eq!(child.parent_span_id, parent.span_id, "{}", child.name);
    assert_eq!(child.trace_id, parent.trace_id, "{}", child.name);
    let times = [
        parent.start_time_unix_nano,
        child.start_time_unix_nano,
        child.end_time_unix_nano,
        parent.end_time_unix_nano,
    ];
    assert!(times.is_sorted(), "{}: {times:?}", child.name);
}

fn assert_failed(span: &Span, kind: &str) {
    let status = span.status.as_ref().unwrap();
    assert_eq!(status.code(), StatusCode::Error, "{}", span.name);
    assert_eq!(text(&span.attributes, "error.type").unwrap(), kind);
    assert_eq!(span.events[0].name, "exception");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn one_trace_holds_the_application_the_call_the_execution_and_pythons_own_span() {
    if !ready() {
        return;
    }
    for core in cores() {
        for receiver in Receiver::all() {
            for function in ["order", "order_async", "order_threaded"] {
                let before = receiver.spans().len();
                let service = Service::start(traced(&core), receiver.provider()).await;
                let call = service.pool.call::<_, Value>(function, &NOTHING);
                let seen = service.within_a_span(call).await.unwrap();
                service.end().await;

                let spans = receiver.spans().split_off(before);
                assert_eq!(names(&spans), ["load", APPLICATION, CALL, EXECUTE]);
                let execute = named(&spans, EXECUTE);
                assert_child(named(&spans, APPLICATION), named(&spans, CALL));
                assert_child(named(&spans, CALL), execute);
                assert_child(execute, named(&spans, "load"));
                assert_eq!(named(&spans, CALL).kind(), SpanKind::Client);
                assert_eq!(execute.kind(), SpanKind::Server);
                assert_eq!(
                    text(&execute.attributes, "function_name").unwrap(),
                    function
                );
                for span in &spans {
                    let status = span.status.as_ref().unwrap();
                    assert_eq!(status.code(), StatusCode::Unset, "{}", span.name);
                }
                // What `get_current_span()` is in the function.
                assert_eq!(seen["span_id"], hex(&execute.span_id));
                assert_eq!(seen["trace_id"], hex(&execute.trace_id));
                if function == "order" {
                    let load = named(&spans, "load");
                    assert_eq!(text(&load.attributes, "rows").unwrap(), "IntValue(3)");
                    assert_eq!(load.events[0].name, "retried");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_exception_is_on_the_spans_that_it_went_through() {
    if !ready() {
        return;
    }
    for core in cores() {
        for receiver in Receiver::all() {
            let service = Service::start(traced(&core), receiver.provider()).await;
            assert!(service.call(json!({"then": "raise"})).await.is_err());
            service.end().await;
            let spans = receiver.spans();
            assert_eq!(names(&spans), ["check", "load", APPLICATION, CALL, EXECUTE]);
            assert_failed(named(&spans, CALL), "KeyError");
            assert_failed(named(&spans, EXECUTE), "KeyError");
            let check = named(&spans, "check");
            assert_child(named(&spans, EXECUTE), check);
            assert_eq!(check.status.as_ref().unwrap().code(), StatusCode::Error);
            let exception = &check.events[0];
            assert_eq!(exception.name, "exception");
            assert_eq!(
                text(&exception.attributes, "exception.type").unwrap(),
                "KeyError"
            );
        }
    }
}

#[tokio::test]
async fn a_call_without_an_answer_leaves_a_closed_span_and_what_python_finished() {
    if !ready() {
        return;
    }
    for core in cores() {
        for receiver in Receiver::all() {
            let died = unanswered(&core, &receiver, "die", LONG).await;
            assert_unanswered(&died, "worker_unavailable");
            let mut limit = Duration::from_millis(500);
            let mut slept = unanswered(&core, &receiver, "sleep", limit).await;
            // A slow machine takes longer for the span that Python finishes before.
            while limit < LONG && slept.iter().all(|it| it.name != "load") {
                limit *= 2;
                slept = unanswered(&core, &receiver, "sleep", limit).await;
            }
            assert_unanswered(&slept, "timeout");
        }
    }
}

/// The spans of a call that gets no answer, by what its function does or by its limit.
async fn unanswered(core: &str, receiver: &Receiver, then: &str, limit: Duration) -> Vec<Span> {
    let before = receiver.spans().len();
    let service = Service::start(traced(core), receiver.provider()).await;
    let input = json!({"then": then});
    let call = service.pool.request("order", &input).timeout(limit);
    let failed = service.within_a_span(call.call::<Value>()).await;
    assert!(failed.is_err());
    service.pool.shutdown(Duration::ZERO).await;
    service.end().await;
    receiver.spans().split_off(before)
}

fn assert_unanswered(spans: &[Span], kind: &str) {
    assert_eq!(names(spans), ["load", APPLICATION, CALL], "{kind}");
    let call = named(spans, CALL);
    assert_failed(call, kind);
    assert_child(named(spans, APPLICATION), call);
    assert_eq!(text(&call.attributes, "worker_id").unwrap(), "IntValue(0)");
    assert_eq!(named(spans, "load").trace_id, call.trace_id);
}

#[tokio::test]
async fn a_dropped_call_and_one_that_found_the_queue_full_have_spans_that_say_so() {
    if !ready() {
        return;
    }
    for receiver in Receiver::all() {
        let builder = traced(ANY).max_in_flight(1).max_queue(0);
        let service = Service::start(builder, receiver.provider()).await;
        let input = json!({"then": "sleep"});
        {
            let mut dropped = pin!(service.pool.call::<_, Value>("order", &input));
            let mut context = TaskContext::from_waker(Waker::noop());
            assert!(dropped.as_mut().poll(&mut context).is_pending());
            let full = service.pool.call::<_, Value>("order", &json!({})).await;
            assert!(full.is_err());
        }
        service.pool.shutdown(Duration::ZERO).await;
        service.end().await;
        let spans = receiver.spans();
        let calls = spans.iter().filter(|it| it.name == CALL);
        let mut kinds: Vec<_> = calls
            .map(|it| text(&it.attributes, "error.type").unwrap())
            .collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["abandoned", "overloaded"]);
    }
}

#[tokio::test]
async fn a_trace_that_came_with_a_request_goes_on_in_python_whatever_its_format() {
    if !ready() {
        return;
    }
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let b3 = |flag: &str| format!("{trace}-{span}-{flag}");
    let receiver = Receiver::Http(Collector::start());
    for (format, headers) in [
        (
            PropagatorType::TraceContext,
            vec![("traceparent", format!("00-{trace}-{span}-01"))],
        ),
        (
            PropagatorType::Jaeger,
            vec![("uber-trace-id", format!("{trace}:{span}:0:1"))],
        ),
        (PropagatorType::B3, vec![("b3", b3("1"))]),
        (
            PropagatorType::B3Multi,
            vec![
                ("x-b3-traceid", trace.to_owned()),
                ("x-b3-spanid", span.to_owned()),
                ("x-b3-sampled", "1".to_owned()),
            ],
        ),
    ] {
        let before = receiver.spans().len();
        let provider = receiver.provider();
        let formats = [format, PropagatorType::Baggage];
        let provider = provider.sampling_rate(0.0).propagators(formats);
        let service = Service::start(traced(ANY), provider).await;
        let mut headers = headers;
        headers.push(("baggage", "request_id=r-1".to_owned()));
        let incoming = service.provider.propagator().extract_pairs(headers);
        let call = service.pool.call::<_, Value>("order", &NOTHING);
        let seen = call.with_context(incoming).await.unwrap();
        service.end().await;

        let spans = receiver.spans().split_off(before);
        assert_eq!(names(&spans), ["load", CALL, EXECUTE], "{format:?}");
        for span in &spans {
            assert_eq!(hex(&span.trace_id), trace, "{format:?}");
        }
        assert_eq!(hex(&named(&spans, CALL).parent_span_id), span);
        assert_child(named(&spans, EXECUTE), named(&spans, "load"));
        assert_eq!(seen["baggage"], json!({"request_id": "r-1"}));
    }
}

#[tokio::test]
async fn python_follows_the_decision_of_an_unsampled_parent() {
    if !ready() {
        return;
    }
    let receiver = Receiver::Http(Collector::start());
    let service = Service::start(traced(ANY), receiver.provider()).await;
    let incoming = [(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    )];
    let context = service.provider.propagator().extract_pairs(incoming);
    let context = context.with_baggage([KeyValue::new("tenant", "acme")]);
    let call = service.pool.call::<_, Value>("order", &NOTHING);
    let seen = call.with_context(context).await.unwrap();
    assert_eq!(seen["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(seen["sampled"], false);
    assert_eq!(seen["baggage"], json!({"tenant": "acme"}));
    let stats = service.end().await;
    assert_eq!((stats.ended(), receiver.spans().len()), (0, 0));
}

#[tokio::test]
async fn a_collector_that_is_down_costs_spans_that_are_counted_and_no_call() {
    if !ready() {
        return;
    }
    let provider = Provider::builder()
        .enabled(true)
        .endpoint(nobody())
        .shutdown_timeout(Duration::from_millis(100));
    let service = Service::start(traced(ANY), provider).await;
    for _ in 0..10 {
        service.call(json!({})).await.unwrap();
    }
    service.pool.shutdown(LONG).await;
    let error = service.provider.shutdown().await.unwrap_err();
    // Of each the application's, the call's, the execution's and Python's own.
    assert_eq!(
        (error.stats.lost(), error.stats.exported),
        (40, 0),
        "{error}"
    );
}

#[tokio::test]
async fn what_python_counts_comes_out_of_the_pools_metrics_and_survives_kills() {
    if !ready() {
        return;
    }
    const KILLS: usize = 3;
    for core in cores() {
        let registry = Registry::new();
        let metrics = PoolMetrics::register(&registry).unwrap();
        let at_once = RestartConfig {
            initial_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(1),
            ..RestartConfig::default()
        };
        let pool = traced(&core)
            .restart(at_once)
            .with_telemetry(Telemetry::default().metrics(&metrics))
            .start()
            .await
            .unwrap();
        let shows = async |lines: &[String]| {
            let begin = Instant::now();
            loop {
                let format = MetricsFormat::Text;
                let text = render_metrics(&registry, &Exemplars::default(), format).unwrap();
                let has = |line: &String| text.lines().any(|it| it == line);
                if lines.iter().all(has) {
                    return;
                }
                assert!(begin.elapsed() < LONG, "{lines:?} are not in\n{text}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        for kill in 0..KILLS {
            pool.call::<_, Value>("order", &json!({})).await.unwrap();
            let counted = kill + 1;
            shows(&[
                format!(r#"shop_orders_total{{kind="good"}} {counted}"#),
                format!("shop_took_seconds_count {counted}"),
            ])
            .await;
            let worker = pool.health().workers[0].pid.unwrap();
            let kill = Command::new("kill")
                .args(["-9", &worker.to_string()])
                .status();
            assert!(kill.unwrap().success());
            let begin = Instant::now();
            while pool.health().workers[0].pid.is_none_or(|it| it == worker) {
                assert!(begin.elapsed() < LONG);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        pool.shutdown(LONG).await;
    }
}

/// Needs a Python with `pyproc-worker` 0.1.0, in `PYPROC_PUBLISHED_PYTHON`.
#[tokio::test]
async fn the_published_worker_goes_on_working_with_tracing_and_metrics() {
    let Some(python) = env::var_os("PYPROC_PUBLISHED_PYTHON") else {
        eprintln!("not run: PYPROC_PUBLISHED_PYTHON names no Python with pyproc-worker 0.1.0");
        return;
    };
    let receiver = Receiver::Http(Collector::start());
    let provider = receiver.provider().start().unwrap();
    let registry = Registry::new();
    let metrics = PoolMetrics::builder().functions(["price", "fail"]);
    let metrics = metrics.register(&registry).unwrap();
    let telemetry = Telemetry::default()
        .tracer(provider.tracer("shop"))
        .metrics(&metrics);
    let builder = python::shop()
        .python_exec(PathBuf::from(python))
        .with_telemetry(telemetry);
    let service = Service {
        pool: builder.start().await.unwrap(),
        provider,
    };
    let input = json!({"count": 3});
    let price = service.pool.call::<_, Value>("price", &input);
    let price = service.within_a_span(price).await.unwrap();
    assert_eq!(price, json!({"price": 6}));
    let failed = service.pool.call::<_, Value>("fail", &NOTHING).await;
    assert!(failed.is_err());
    service.end().await;

    let spans = receiver.spans();
    assert_eq!(names(&spans), [APPLICATION, CALL, CALL]);
    let unset = |span: &&Span| span.status.as_ref().unwrap().code() == StatusCode::Unset;
    let call = spans.iter().filter(|it| it.name == CALL).find(unset);
    assert_child(named(&spans, APPLICATION), call.unwrap());
    let text = render_metrics(&registry, &Exemplars::default(), MetricsFormat::Text).unwrap();
    for line in [
        r#"pyproc_requests_total{function_name="price",status="success"} 1"#,
        r#"pyproc_requests_total{function_name="fail",status="error"} 1"#,
    ] {
        assert!(
            text.lines().any(|it| it == line),
            "{line} is not in\n{text}"
        );
    }
}
