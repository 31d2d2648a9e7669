//! The globals of OpenTelemetry, in a process of their own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use opentelemetry::{
    Context, global,
    trace::{Span, SpanContext, TraceContextExt, TraceFlags, TraceState, Tracer},
};
use pyproc_telemetry::{MemorySpans, PropagatorType, Provider};

#[test]
fn code_that_knows_only_the_globals_uses_the_provider() {
    let spans = MemorySpans::default();
    let provider = Provider::builder()
        .enabled(true)
        .propagators([PropagatorType::B3])
        .in_memory(&spans)
        .start()
        .unwrap();
    provider.set_global();

    let tracer = global::tracer("my-app");
    tracer.start("process_request").end();
    assert_eq!(spans.finished()[0].name, "process_request");
    assert_eq!(spans.finished()[0].instrumentation_scope.name(), "my-app");

    let remote = SpanContext::new(
        1.into(),
        2.into(),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    let context = Context::new().with_remote_span_context(remote.clone());
    let mut headers = HashMap::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
    assert!(headers.contains_key("b3"));

    // Also by this way contexts pass after the shutdown.
    provider.shutdown_blocking().unwrap();
    let span = tracer.start_with_context("late", &context);
    assert_eq!(span.span_context(), &remote);
}
