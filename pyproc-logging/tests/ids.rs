//! Which trace a line belongs to.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use opentelemetry::{
    Context, KeyValue,
    trace::{
        SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
        TracerProvider,
    },
};
use opentelemetry_sdk::trace::{
    Sampler, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample,
};
use pyproc_logging::{Levels, LoggingBuilder, LoggingGuard, request_span};
use support::{Capture, Object};
use tracing::{
    Dispatch, Instrument, debug_span, field::Empty, info, info_span, level_filters::LevelFilter,
};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

const KEYS: [&str; 3] = ["trace_id", "span_id", "trace_flags"];

struct Traced {
    dispatch: Dispatch,
    guard: LoggingGuard,
    capture: Capture,
}

impl Traced {
    fn new(
        builder: LoggingBuilder,
        sampler: impl ShouldSample + 'static,
        activation: bool,
    ) -> Self {
        let capture = Capture::default();
        let (log, guard) = builder.writer(capture.clone()).layer().unwrap();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer(sampler))
            .with_context_activation(activation);
        Self {
            dispatch: Dispatch::new(Registry::default().with(log).with(layer)),
            guard,
            capture,
        }
    }

    fn lines(self, run: impl FnOnce()) -> Vec<Object> {
        tracing::dispatcher::with_default(&self.dispatch, run);
        assert!(self.guard.handle().flush(Duration::from_secs(30)));
        self.capture.objects()
    }
}

fn tracer(sampler: impl ShouldSample + 'static) -> SdkTracer {
    SdkTracerProvider::builder()
        .with_sampler(sampler)
        .build()
        .tracer("test")
}

fn traced(run: impl FnOnce()) -> Vec<Object> {
    Traced::new(LoggingBuilder::default(), Sampler::AlwaysOn, true).lines(run)
}

fn ids(line: &Object) -> [String; 3] {
    KEYS.map(|key| line.text(key))
}

/// The ids of a context, as W3C writes them.
fn expected(context: &Context) -> [String; 3] {
    let span = context.span();
    let span = span.span_context();
    let flags = format!("{:02x}", span.trace_flags().to_u8());
    [
        span.trace_id().to_string(),
        span.span_id().to_string(),
        flags,
    ]
}

fn remote(trace: u128, span: u64) -> Context {
    let context = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(span),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    Context::new().with_remote_span_context(context)
}

#[test]
fn a_line_has_the_ids_of_its_span_right_after_the_message() {
    let mut contexts = Vec::new();
    let lines = traced(|| {
        let outer = info_span!("outer", a = 1).entered();
        contexts.push(outer.context());
        info!("outer");
        let inner = info_span!("inner").entered();
        contexts.push(inner.context());
        info!("inner");
        info!("again");
        drop(inner);
        info!("outer again");
    });
    assert_eq!(
        lines[0].keys(),
        [
            "time",
            "level",
            "msg",
            "trace_id",
            "span_id",
            "trace_flags",
            "a"
        ]
    );
    for (line, context) in [(0, 0), (1, 1), (2, 1), (3, 0)] {
        assert_eq!(
            ids(&lines[line]),
            expected(&contexts[context]),
            "line {line}"
        );
    }
    assert_eq!(lines[0].text("trace_id"), lines[1].text("trace_id"));
    assert_ne!(lines[0].text("span_id"), lines[1].text("span_id"));
    assert_eq!(lines[0].text("trace_flags"), "01");
}

#[test]
fn without_a_trace_the_keys_are_left_out() {
    let lines = traced(|| {
        info!("outside");
        info!(parent: None, "on purpose");
    });
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line.keys(), ["time", "level", "msg"]);
    }
    // A span, but nobody who traces.
    let untraced = support::json(|| info_span!("s").in_scope(|| info!("m")));
    assert_eq!(untraced[0].keys(), ["time", "level", "msg"]);
}

#[test]
fn switched_off_they_are_left_out_too() {
    let builder = LoggingBuilder::default().trace_enabled(false);
    let lines = Traced::new(builder, Sampler::AlwaysOn, true)
        .lines(|| info_span!("s").in_scope(|| info!("m")));
    assert_eq!(lines[0].keys(), ["time", "level", "msg"]);
}

#[test]
fn a_span_that_is_not_sampled_has_ids_too() {
    let lines = Traced::new(LoggingBuilder::default(), Sampler::AlwaysOff, true)
        .lines(|| info_span!("s").in_scope(|| info!("m")));
    assert_eq!(lines[0].text("trace_flags"), "00");
    assert_eq!(lines[0].text("trace_id").len(), 32);
    assert_ne!(lines[0].text("trace_id"), "0".repeat(32));
}

#[test]
fn a_context_of_opentelemetry_alone_gives_its_ids() {
    let tracer = tracer(Sampler::AlwaysOn);
    let mut context = Context::new();
    let lines = support::json(|| {
        tracer.in_span("manual", |current| {
            context = current;
            info!("no tracing span");
            info_span!("untraced").in_scope(|| info!("in one that is not traced"));
        });
    });
    assert_eq!(ids(&lines[0]), expected(&context));
    assert_eq!(ids(&lines[1]), expected(&context));
}

#[test]
fn a_parent_from_outside_gives_its_trace() {
    let lines = traced(|| {
        let span = info_span!("s");
        span.set_parent(remote(0xabc, 0xdef)).unwrap();
        span.in_scope(|| info!("m"));
    });
    assert_eq!(lines[0].text("trace_id"), format!("{:032x}", 0xabc));
    assert_ne!(lines[0].text("span_id"), format!("{:016x}", 0xdef));
}

#[test]
fn of_one_trace_the_innermost_span_counts_whoever_made_it() {
    let tracer = tracer(Sampler::AlwaysOn);
    let mut context = Context::new();
    let lines = traced(|| {
        let _span = info_span!("tracing").entered();
        tracer.in_span("opentelemetry", |current| {
            context = current;
            info!("m");
        });
        info!("n");
    });
    assert_eq!(ids(&lines[0]), expected(&context));
    assert_eq!(lines[0].text("trace_id"), lines[1].text("trace_id"));
    assert_ne!(lines[0].text("span_id"), lines[1].text("span_id"));
}

#[test]
fn where_spans_are_not_made_current_in_opentelemetry_the_tracing_span_counts() {
    let mut expected_ids = None;
    let lines = Traced::new(LoggingBuilder::default(), Sampler::AlwaysOn, false).lines(|| {
        let _other = remote(1, 2).attach();
        let span = info_span!(parent: None, "s").entered();
        expected_ids = Some(expected(&span.context()));
        info!("m");
        info!("again");
    });
    assert_eq!(Some(ids(&lines[0])), expected_ids);
    assert_eq!(Some(ids(&lines[1])), expected_ids);
    assert_ne!(lines[0].text("trace_id"), format!("{:032x}", 1));
}

#[test]
fn an_event_that_names_its_parent_has_that_ones_ids_and_fields() {
    let mut expected_ids = None;
    let lines = traced(|| {
        // All of one trace.
        let _root = info_span!("root").entered();
        let parent = info_span!("parent", of = "parent");
        expected_ids = Some(expected(&parent.context()));
        let _other = info_span!("other", of = "other").entered();
        info!(parent: &parent, "m");
    });
    assert_eq!(Some(ids(&lines[0])), expected_ids);
    assert_eq!(lines[0].text("of"), "parent");
}

#[test]
fn an_event_without_a_parent_on_purpose_has_the_ids_of_the_context_only() {
    let lines = traced(|| {
        let _span = info_span!("s", field = 1).entered();
        let _of_a_worker = remote(7, 8).attach();
        info!(parent: None, "m");
    });
    assert_eq!(lines[0].text("trace_id"), format!("{:032x}", 7));
    assert_eq!(lines[0].text("span_id"), format!("{:016x}", 8));
    assert_eq!(lines[0].get("field"), None);
}

#[test]
fn a_span_that_is_not_traced_has_the_ids_of_the_one_around_it() {
    let capture = Capture::default();
    let (log, guard) = LoggingBuilder::default()
        .level(Levels::DEBUG)
        .writer(capture.clone())
        .layer()
        .unwrap();
    let layer: OpenTelemetryLayer<_, _> =
        tracing_opentelemetry::layer().with_tracer(tracer(Sampler::AlwaysOn));
    let layer = layer
        .with_context_activation(false)
        .with_filter(LevelFilter::INFO);
    let dispatch = Dispatch::new(Registry::default().with(log).with(layer));
    tracing::dispatcher::with_default(&dispatch, || {
        let _traced = info_span!("traced").entered();
        info!("outer");
        let _untraced = debug_span!("untraced").entered();
        info!("inner");
    });
    drop(guard);
    let lines = capture.objects();
    assert_eq!(ids(&lines[0]), ids(&lines[1]));
}

#[test]
fn two_logs_in_one_subscriber_keep_their_own_look_and_agree_on_the_ids() {
    let captures = [Capture::default(), Capture::default()];
    let builders = [
        LoggingBuilder::default(),
        LoggingBuilder::default().redact(["a"]),
    ];
    let (layers, guards): (Vec<_>, Vec<_>) = builders
        .into_iter()
        .zip(captures.clone())
        .map(|(builder, capture)| builder.writer(capture).layer().unwrap())
        .unzip();
    let layer = tracing_opentelemetry::layer().with_tracer(tracer(Sampler::AlwaysOn));
    // As a list, since both layers are for the same subscriber.
    let dispatch = Dispatch::new(Registry::default().with(layers).with(layer));
    tracing::dispatcher::with_default(&dispatch, || {
        let span = info_span!("s", a = 1, b = Empty).entered();
        span.record("b", 2);
        info!("m");
    });
    drop(guards);
    let [plain, redacted] = captures.map(|capture| capture.objects().remove(0));
    assert_eq!(ids(&plain), ids(&redacted));
    let fields = |line: &Object| ["a", "b"].map(|key| line.get(key).unwrap().to_string());
    assert_eq!(fields(&plain), ["1", "2"]);
    assert_eq!(fields(&redacted), ["\"[redacted]\"", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_run_at_once_keep_their_ids_and_fields_apart() {
    let traced = Traced::new(LoggingBuilder::default(), Sampler::AlwaysOn, true);
    let _default = tracing::dispatcher::set_default(&traced.dispatch);
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(8));
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let span = request_span!(number, traced = true);
            let trace = span.context().span().span_context().trace_id().to_string();
            let barrier = barrier.clone();
            let work = async move {
                for _ in 0..20 {
                    info!(trace, number, "m");
                    barrier.wait().await;
                }
            };
            let work = tracing::instrument::WithSubscriber::with_current_subscriber(work);
            tokio::spawn(work.instrument(span))
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(traced.guard.handle().flush(Duration::from_secs(30)));
    let lines = traced.capture.objects();
    assert_eq!(lines.len(), 160);
    for line in lines {
        assert_eq!(line.text("trace_id"), line.text("trace"));
        assert_eq!(
            line.get("number").unwrap().to_string(),
            line.text("request_id")
        );
    }
}

/// That the SDK logs while a span starts must not lead back into that span.
#[derive(Debug, Clone)]
struct LoggingSampler;

impl ShouldSample for LoggingSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        info!("the sampler logs");
        Sampler::AlwaysOn.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}

#[test]
fn a_sampler_that_logs_does_not_block() {
    let lines = Traced::new(LoggingBuilder::default(), LoggingSampler, true).lines(|| {
        let span = info_span!("s");
        info!(parent: &span, "starts it");
        span.in_scope(|| info!("m"));
    });
    assert_eq!(lines.last().unwrap().text("msg"), "m");
    assert_eq!(lines.last().unwrap().text("trace_id").len(), 32);
}
