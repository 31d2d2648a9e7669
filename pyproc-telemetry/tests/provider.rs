//! The provider itself: on, off, shut down, and for people.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use pyproc_telemetry::{BatchConfig, Config, ExporterType, MemorySpans, Provider, StartError};

const LIMIT: Duration = Duration::from_secs(60);

fn remote() -> Context {
    let span = SpanContext::new(
        1.into(),
        2.into(),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    Context::new().with_remote_span_context(span)
}

#[test]
fn disabled_means_that_contexts_pass_and_nothing_else_happens() {
    let spans = MemorySpans::default();
    let provider = Provider::builder().in_memory(&spans).start().unwrap();
    assert!(!provider.is_enabled());
    let tracer = provider.tracer("t");
    assert!(!tracer.is_enabled());
    let mut span = tracer.start_with_context("s", &remote());
    assert!(!span.is_recording());
    // The caller's own, so that what is called next becomes its child.
    assert_eq!(span.span_context(), remote().span().span_context());
    span.set_attribute(KeyValue::new("a", 1));
    span.end();
    assert!(
        !tracer
            .start_with_context("s", &Context::new())
            .span_context()
            .is_valid()
    );
    provider.flush_blocking(LIMIT).unwrap();
    assert_eq!(provider.shutdown_blocking().unwrap().ended(), 0);
    assert_eq!(spans.finished().len(), 0);
}

#[test]
fn after_the_shutdown_contexts_still_pass() {
    let provider = Provider::builder()
        .enabled(true)
        .in_memory(&MemorySpans::default())
        .start()
        .unwrap();
    let tracer = provider.tracer("t");
    assert!(tracer.is_enabled());
    provider.shutdown_blocking().unwrap();
    assert!(!tracer.is_enabled());
    let span = tracer.start_with_context("s", &remote());
    assert_eq!(span.span_context(), remote().span().span_context());
}

#[test]
fn a_tracer_of_somebody_elses_provider_works_and_passes_contexts_after_its_end() {
    use opentelemetry::trace::TracerProvider;

    let sdk = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let tracer = pyproc_telemetry::Tracer::from(sdk.tracer("t"));
    assert!(tracer.start("s").is_recording());
    sdk.shutdown().unwrap();
    let span = tracer.start_with_context("s", &remote());
    assert_eq!(span.span_context(), remote().span().span_context());
}

#[test]
fn the_exporter_none_makes_spans_that_go_nowhere() {
    let provider = Provider::builder()
        .enabled(true)
        .exporter_type(ExporterType::None)
        .start()
        .unwrap();
    let mut span = provider.tracer("t").start_with_context("s", &remote());
    assert_ne!(span.span_context().span_id(), 2.into());
    assert_eq!(span.span_context().trace_id(), 1.into());
    span.end();
    provider.shutdown_blocking().unwrap();
}

#[test]
fn everything_may_be_shared_by_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Provider>();
    shared::<pyproc_telemetry::Tracer>();
    shared::<pyproc_telemetry::Propagator>();
    shared::<pyproc_telemetry::Exemplars>();
    #[cfg(feature = "http")]
    shared::<pyproc_telemetry::http::Endpoints>();
}

#[test]
fn a_wrong_setting_is_refused_at_the_start() {
    for config in [
        Config {
            sampling_rate: f64::NAN,
            ..Config::default()
        },
        Config {
            batch: BatchConfig {
                max_queue_size: 0,
                ..BatchConfig::default()
            },
            ..Config::default()
        },
    ] {
        let error = Provider::start(config).unwrap_err();
        assert!(matches!(error, StartError::Config(_)), "{error}");
    }
}

#[test]
fn no_secret_shows_in_debug_output() {
    let builder = Provider::builder()
        .enabled(true)
        .header("x-api-key", "s3cret")
        .endpoint("http://127.0.0.1:9");
    assert!(!format!("{builder:?}").contains("s3cret"));
    let provider = builder.start().unwrap();
    let tracer = provider.tracer("t");
    assert!(!format!("{provider:?} {tracer:?}").contains("s3cret"));
}

#[test]
fn what_a_span_may_hold_is_limited() {
    let spans = MemorySpans::default();
    let mut config = Config {
        enabled: true,
        ..Config::default()
    };
    config.span_limits.attributes = 2;
    config.span_limits.events = 1;
    let provider = pyproc_telemetry::ProviderBuilder::from(config)
        .in_memory(&spans)
        .start()
        .unwrap();
    let mut span = provider.tracer("t").start("s");
    for _ in 0..5 {
        span.set_attribute(KeyValue::new("a", 1));
        span.add_event("e", vec![]);
    }
    span.end();
    let span = &spans.finished()[0];
    assert_eq!(
        (span.attributes.len(), span.dropped_attributes_count),
        (2, 3)
    );
    assert_eq!((span.events.len(), span.events.dropped_count), (1, 4));
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn stdout_shows_a_block_for_each_span() {
    let written = Shared::default();
    let provider = Provider::builder()
        .service_name("shop")
        .enabled(true)
        .writer(written.clone())
        .start()
        .unwrap();
    let tracer = provider.tracer("t");
    let start = SystemTime::UNIX_EPOCH;
    let mut span = tracer
        .span_builder("pyproc.pool.call")
        .with_kind(SpanKind::Client)
        .with_start_time(start)
        .with_attributes([
            KeyValue::new("function_name", "predict"),
            // Neither a new line nor a terminal's escape gets through.
            KeyValue::new("text", "a\nb\u{1b}[31m"),
        ])
        .start_with_context(&tracer, &remote());
    let id = span.span_context().span_id();
    span.add_event_with_timestamp(
        "exception",
        start + Duration::from_millis(2),
        vec![KeyValue::new("exception.type", "ValueError")],
    );
    span.set_status(Status::error("it failed"));
    span.end_with_timestamp(start + Duration::from_millis(45));
    provider.shutdown_blocking().unwrap();

    let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let expected = format!(
        "pyproc.pool.call 45ms Client [shop]
  trace  00000000000000000000000000000001
  span   {id}, child of 0000000000000002 (remote)
  status error: it failed
  function_name = predict
  text = a\\nb\\u{{1b}}[31m
  event  exception at 2ms
    exception.type = ValueError

"
    );
    assert_eq!(written, expected);
}

#[test]
fn a_writer_that_fails_is_a_loss_that_is_counted() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let provider = Provider::builder()
        .enabled(true)
        .writer(Broken)
        .start()
        .unwrap();
    provider.tracer("t").start("s").end();
    // Spans are written at once, so it may have failed before the shutdown, which then lost none.
    let closed = provider.shutdown_blocking();
    let stats = closed.unwrap_or_else(|error| *error.stats);
    assert_eq!((stats.failed, stats.ended()), (1, 1));
}

/// Traces itself.
#[derive(Debug)]
struct Traced(pyproc_telemetry::Tracer);

impl SpanExporter for Traced {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        self.0.start("export").end();
        Ok(())
    }
}

#[test]
fn what_an_exporter_traces_is_not_exported_in_turn() {
    let spans = MemorySpans::default();
    let enabled = || Provider::builder().enabled(true);
    let own = enabled().in_memory(&spans).start().unwrap();
    let exporter = Traced(own.tracer("exporter"));
    let provider = enabled().exporter(exporter).start().unwrap();
    provider.tracer("t").start("s").end();
    assert_eq!(provider.shutdown_blocking().unwrap().exported, 1);
    assert_eq!(spans.finished().len(), 0);
}
