//! What arrives at a collector over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/sidecar.rs"]
mod sidecar;
mod support;

use std::time::Duration;

use opentelemetry::{
    Array, Context, KeyValue, Value,
    trace::{
        Link, Span, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer,
    },
};
use opentelemetry_proto::tonic::trace::v1::{span, status};
use pyproc_telemetry::{BatchConfig, Compression, Provider, ProviderBuilder};
use support::{Collector, LONG, Reply, nobody, text};

/// Sends only when told to.
fn to(collector: &Collector) -> ProviderBuilder {
    Provider::builder()
        .service_name("shop")
        .enabled(true)
        .endpoint(collector.endpoint())
        .batch(BatchConfig {
            schedule_delay: LONG,
            ..BatchConfig::default()
        })
        .shutdown_timeout(LONG)
}

#[test]
fn a_trace_arrives_with_all_that_was_recorded() {
    let collector = Collector::start();
    let provider = to(&collector)
        .resource_attribute("deployment.environment.name", "test")
        .field("pod_name", "shop-1")
        .field("version", "1.4.2")
        .resource_attribute("service.version", "1.4")
        .header("X-Api-Key", "s3cret")
        .start()
        .unwrap();
    let tracer = provider.tracer("shop-api");

    let parent = tracer.start("request");
    let trace = parent.span_context().trace_id();
    let parent_id = parent.span_context().span_id();
    let context = Context::new().with_span(parent);
    let elsewhere = SpanContext::new(
        7.into(),
        8.into(),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    let mut call = tracer
        .span_builder("pyproc.pool.call")
        .with_kind(SpanKind::Client)
        .with_attributes([
            KeyValue::new("function_name", "predict"),
            KeyValue::new("worker_id", 3),
            KeyValue::new("ratio", 0.5),
            KeyValue::new("cached", false),
            KeyValue::new(
                "tags",
                Value::Array(Array::String(vec!["a".into(), "b".into()])),
            ),
        ])
        .with_links(vec![Link::with_context(elsewhere)])
        .start_with_context(&tracer, &context);
    call.add_event(
        "exception",
        vec![KeyValue::new("exception.type", "ValueError")],
    );
    call.set_status(Status::error("it failed"));
    call.end();
    context.span().end();
    let stats = provider.shutdown_blocking().unwrap();
    assert_eq!((stats.exported, stats.ended()), (2, 2));

    let taken = collector.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].path, "/v1/traces");
    assert_eq!(taken[0].headers["x-api-key"], "s3cret");
    assert_eq!(taken[0].headers["content-type"], "application/x-protobuf");
    let resource = &taken[0].request().resource_spans[0];
    let about = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(text(about, "service.name").unwrap(), "shop");
    assert_eq!(text(about, "deployment.environment.name").unwrap(), "test");
    for (name, value) in [
        ("pod_name", "shop-1"),
        ("k8s.pod.name", "shop-1"),
        ("version", "1.4.2"),
        ("service.version", "1.4"),
    ] {
        assert_eq!(text(about, name).unwrap(), value, "{name}");
    }
    let scope = resource.scope_spans[0].scope.as_ref().unwrap();
    assert_eq!(scope.name, "shop-api");

    let spans = collector.spans();
    let [call, request] = spans.as_slice() else {
        panic!("{spans:?}")
    };
    assert_eq!(call.trace_id, trace.to_bytes());
    assert_eq!(request.trace_id, call.trace_id);
    assert_eq!(call.parent_span_id, parent_id.to_bytes());
    assert_eq!(request.span_id, call.parent_span_id);
    assert_eq!(request.parent_span_id, Vec::<u8>::new());
    assert_eq!(call.kind, span::SpanKind::Client as i32);
    assert!(request.start_time_unix_nano <= call.start_time_unix_nano);
    assert!(call.start_time_unix_nano <= call.end_time_unix_nano);
    assert!(call.end_time_unix_nano <= request.end_time_unix_nano);
    assert_eq!(text(&call.attributes, "function_name").unwrap(), "predict");
    assert_eq!(text(&call.attributes, "worker_id").unwrap(), "IntValue(3)");
    assert_eq!(call.attributes.len(), 5);
    let status = call.status.as_ref().unwrap();
    assert_eq!(status.code, status::StatusCode::Error as i32);
    assert_eq!(status.message, "it failed");
    assert_eq!(call.events[0].name, "exception");
    assert_eq!(
        text(&call.events[0].attributes, "exception.type").unwrap(),
        "ValueError"
    );
    assert_eq!(call.links[0].span_id, 8u64.to_be_bytes());
}

#[test]
fn batches_are_as_large_as_set_and_share_a_connection() {
    let collector = Collector::start();
    let provider = to(&collector)
        .batch(BatchConfig {
            max_export_batch_size: 4,
            schedule_delay: LONG,
            ..BatchConfig::default()
        })
        .start()
        .unwrap();
    let tracer = provider.tracer("t");
    for _ in 0..10 {
        tracer.start("s").end();
    }
    provider.flush_blocking(LONG).unwrap();
    let taken = collector.taken();
    let sizes = taken
        .into_iter()
        .map(|it| support::spans([it.request()]).len());
    let sizes: Vec<_> = sizes.collect();
    assert_eq!(sizes.iter().sum::<usize>(), 10);
    assert!(sizes.iter().all(|size| *size <= 4), "{sizes:?}");
    assert_eq!(collector.connections(), 1);
}

#[test]
fn a_full_batch_goes_without_waiting_and_a_part_of_one_after_the_delay() {
    let collector = Collector::start();
    let batch = |size, delay| BatchConfig {
        max_export_batch_size: size,
        schedule_delay: delay,
        ..BatchConfig::default()
    };
    let full = to(&collector).batch(batch(2, LONG)).start().unwrap();
    full.tracer("t").start("s").end();
    full.tracer("t").start("s").end();
    support::eventually(|| collector.spans().len() == 2);

    let part = to(&collector)
        .batch(batch(100, Duration::from_millis(1)))
        .start()
        .unwrap();
    part.tracer("t").start("s").end();
    support::eventually(|| collector.spans().len() == 3);
}

#[test]
fn what_is_worth_another_try_is_tried_again() {
    for reply in [
        Reply::Status(503, "retry-after: 0\r\n"),
        Reply::Status(429, ""),
        Reply::Close,
    ] {
        let collector = Collector::replying(move |number| match number {
            0 | 1 => reply.clone(),
            _ => Reply::Take,
        });
        let provider = to(&collector).timeout(LONG).start().unwrap();
        provider.tracer("t").start("s").end();
        provider.flush_blocking(LONG).unwrap();
        assert_eq!(collector.requests(), 3);
        assert_eq!(collector.spans().len(), 1);
        assert_eq!(provider.stats().failures, 0);
    }
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_no_attempt() {
    let collector = Collector::replying(|_| Reply::TakeLast);
    let provider = to(&collector).start().unwrap();
    provider.tracer("t").start("s").end();
    provider.flush_blocking(LONG).unwrap();
    provider.tracer("t").start("s").end();
    // A shutdown has one attempt.
    assert_eq!(provider.shutdown_blocking().unwrap().exported, 2);
    assert_eq!(collector.connections(), 2);
}

#[test]
fn what_is_refused_is_not_tried_again() {
    for status in [400, 401, 404, 301, 500] {
        let collector = Collector::replying(move |_| Reply::Status(status, ""));
        let provider = to(&collector).timeout(LONG).start().unwrap();
        provider.tracer("t").start("s").end();
        let error = provider.flush_blocking(LONG).unwrap_err();
        let source = error.source.as_ref().unwrap();
        assert!(
            source.refused && source.reason.contains(&status.to_string()),
            "{source}"
        );
        assert_eq!(collector.requests(), 1);
        let stats = provider.stats();
        assert_eq!((stats.refused, stats.failures, stats.ended()), (1, 1, 1));
    }
}

#[test]
fn a_partial_success_counts_what_was_not_taken() {
    let collector = Collector::replying(|_| Reply::Partly(3));
    let provider = to(&collector).start().unwrap();
    for _ in 0..5 {
        provider.tracer("t").start("s").end();
    }
    let error = provider.flush_blocking(LONG).unwrap_err();
    assert_eq!((error.spans, error.timed_out), (3, None));
    let stats = provider.shutdown_blocking().unwrap();
    assert_eq!((stats.exported, stats.refused, stats.failures), (2, 3, 0));
}

#[test]
fn an_old_jaeger_address_leads_to_otlp_with_a_warning() {
    let collector = Collector::start();
    let full = format!("{}/api/traces", collector.endpoint());
    let provider = Provider::builder()
        .enabled(true)
        .exporter_type(pyproc_telemetry::ExporterType::Jaeger)
        .endpoint(full)
        .start()
        .unwrap();
    assert_eq!(provider.warnings().len(), 1);
    assert!(provider.warnings()[0].contains(":4318/v1/traces"));

    let provider = to(&collector)
        .exporter_type(pyproc_telemetry::ExporterType::Jaeger)
        .start()
        .unwrap();
    assert!(provider.warnings().is_empty());
    provider.tracer("t").start("s").end();
    provider.shutdown_blocking().unwrap();
    assert_eq!(collector.spans().len(), 1);
}

#[test]
fn a_compressed_request_arrives() {
    let collector = Collector::start();
    let provider = to(&collector)
        .compression(Compression::Gzip)
        .start()
        .unwrap();
    provider.tracer("t").start("s").end();
    provider.flush_blocking(LONG).unwrap();
    assert_eq!(collector.taken()[0].headers["content-encoding"], "gzip");
    assert_eq!(collector.spans()[0].name, "s");
}

#[test]
fn a_collector_that_is_not_there_is_no_reason_not_to_start() {
    let provider = Provider::builder()
        .enabled(true)
        .endpoint(nobody())
        .start()
        .unwrap();
    assert!(provider.is_enabled());
}

#[tokio::test]
async fn a_call_and_its_execution_arrive() {
    use pyproc_telemetry::PoolBuilderExt;

    let collector = Collector::start();
    let provider = to(&collector).start().unwrap();
    let sockets = sidecar::Sockets::new();
    let socket = sockets.path("worker.sock");
    sidecar::serve(&socket, |request| sidecar::echo(request, Duration::ZERO));
    let pool = pyproc_pool::Pool::builder()
        .external_sockets([&socket])
        .with_tracer(provider.tracer("shop"))
        .start()
        .await
        .unwrap();
    pool.call::<_, serde_json::Value>("listed", &1)
        .await
        .unwrap();
    provider.shutdown().await.unwrap();

    let spans = collector.spans();
    let named = |name| spans.iter().find(|span| span.name == name).unwrap();
    let (call, execute) = (named("pyproc.pool.call"), named("pyproc.worker.execute"));
    assert_eq!(spans.len(), 2);
    assert_eq!(execute.parent_span_id, call.span_id);
    assert_eq!(execute.trace_id, call.trace_id);
    assert!(call.start_time_unix_nano <= execute.start_time_unix_nano);
    assert!(execute.end_time_unix_nano <= call.end_time_unix_nano);
    let function = text(&execute.attributes, "function_name");
    assert_eq!(function.as_deref(), Some("listed"));
}

/// What a child process of the next test sees of the environment.
const MEANT_FOR_OTHERS: [(&str, &str); 5] = [
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://nobody.invalid:1"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-other=1"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
];

#[test]
fn settings_made_in_code_hold_whatever_the_environment_says() {
    const CHILD: &str = "PYPROC_TEST_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let name = "settings_made_in_code_hold_whatever_the_environment_says";
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact"])
            .env(CHILD, "1")
            .envs(MEANT_FOR_OTHERS)
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let collector = Collector::start();
    let provider = to(&collector).start().unwrap();
    provider.tracer("t").start("s").end();
    provider.shutdown_blocking().unwrap();
    let received = &collector.taken()[0];
    assert_eq!(received.request().resource_spans.len(), 1);
    assert!(!received.headers.contains_key("content-encoding"));
    assert!(!received.headers.contains_key("x-other"));
}
