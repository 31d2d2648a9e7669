//! The trace context of a pool's calls: decisions, headers and baggage.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/python.rs"]
mod python;
#[path = "support/sidecar.rs"]
mod sidecar;
#[path = "support/traced_pool.rs"]
mod traced_pool;

use traced_pool::*;

#[tokio::test]
async fn an_old_worker_gives_a_call_span_only_and_gets_a_header() {
    let (provider, spans) = provider();
    let old = |builder: PoolBuilder| builder.max_protocol_version(1);
    let rig = Rig::with(old, provider.tracer("t"), |request| echo(request, RAN)).await;
    rig.call().await.unwrap();
    let spans = spans.finished();
    assert_eq!(spans.len(), 1);
    let call = named(&spans, CALL);
    assert_eq!(attribute(&call, "worker_id").unwrap(), "0");
    let header = rig.request().headers["traceparent"].clone();
    let trace = call.span_context.trace_id().to_string();
    assert!(header.contains(&trace) && header.ends_with("-01"));
}

#[tokio::test]
async fn the_flag_of_a_random_trace_id_goes_on_whether_the_call_is_sampled_or_not() {
    for sampled in [true, false] {
        let (provider, spans) = provider();
        let rig = Rig::start(provider.tracer("t"), |request| echo(request, RAN)).await;
        let flags = RANDOM.with_sampled(sampled);
        let parent = SpanContext::new(1.into(), 2.into(), flags, true, TraceState::NONE);
        let guard = Context::new().with_remote_span_context(parent).attach();
        rig.call().await.unwrap();
        drop(guard);
        assert_eq!(rig.request().trace.unwrap().flags, flags.to_u8());
        let spans = spans.finished();
        assert_eq!(spans.len(), if sampled { 2 } else { 0 });
        let is_kept = |span: &SpanData| span.span_context.trace_flags() == flags;
        assert!(spans.iter().all(is_kept), "{spans:?}");
    }
}

#[tokio::test]
async fn the_parents_decision_holds_here_and_in_the_worker() {
    for sampled in [true, false] {
        let (provider, spans) = provider();
        let rig = Rig::start(provider.tracer("t"), |request| echo(request, RAN)).await;
        let context = Context::new().with_remote_span_context(remote(sampled));
        let guard = context.attach();
        rig.call().await.unwrap();
        drop(guard);
        let spans = spans.finished();
        assert_eq!(spans.len(), if sampled { 2 } else { 0 });
        let request = rig.request();
        let trace = request.trace.unwrap();
        assert_eq!(trace.trace_id, remote(sampled).trace_id().to_bytes());
        assert_eq!(trace.flags, u8::from(sampled));
        assert_eq!(request.wants_times, sampled);
        assert_eq!(request.headers["tracestate"], "vendor=a");
        if sampled {
            let call = named(&spans, CALL);
            assert_eq!(call.parent_span_id, remote(true).span_id());
            assert!(call.parent_span_is_remote);
        }
    }
}

#[tokio::test]
async fn a_context_passes_when_tracing_is_disabled() {
    let provider = Provider::builder().start().unwrap();
    let rig = Rig::start(provider.tracer("t"), |request| echo(request, RAN)).await;
    rig.call().await.unwrap();
    let request = rig.request();
    assert!(request.trace.is_none() && request.headers.is_empty() && !request.wants_times);

    let guard = Context::new()
        .with_remote_span_context(remote(true))
        .attach();
    rig.call().await.unwrap();
    drop(guard);
    let trace = rig.request().trace.unwrap();
    assert_eq!(trace.span_id, remote(true).span_id().to_bytes());
}

#[tokio::test]
async fn baggage_goes_beside_that_of_the_pools_hook() {
    let (provider, _) = provider();
    let hooked = |builder: PoolBuilder| {
        builder.inject_headers(|headers| {
            headers.insert("baggage".into(), "request_id=r-1, tenant=hook".into());
        })
    };
    let rig = Rig::with(hooked, provider.tracer("t"), |request| echo(request, RAN)).await;
    let tenant = KeyValue::new("tenant", "acme");
    let context = Context::new().with_baggage([tenant, KeyValue::new("user", "u-7")]);
    let guard = context.attach();
    rig.call().await.unwrap();
    drop(guard);
    let sent = rig.request().headers["baggage"].clone();
    assert_eq!(sent, "request_id=r-1, tenant=hook,user=u-7");
}

#[tokio::test]
async fn baggage_and_other_formats_travel_as_headers_and_the_callers_own_stay() {
    let spans = MemorySpans::default();
    let provider = Provider::builder()
        .enabled(true)
        .propagators([
            PropagatorType::TraceContext,
            PropagatorType::Baggage,
            PropagatorType::B3,
            PropagatorType::Jaeger,
        ])
        .in_memory(&spans)
        .start()
        .unwrap();
    let rig = Rig::start(provider.tracer("t"), |request| echo(request, RAN)).await;
    let context = Context::new()
        .with_remote_span_context(remote(true))
        .with_baggage([KeyValue::new("tenant", "acme")]);
    let guard = context.attach();
    let call = rig
        .pool
        .request("listed", &1)
        .header("tracestate", "mine=1");
    call.call::<Value>().await.unwrap();
    drop(guard);
    let request = rig.request();
    let execute = named(&spans.finished(), EXECUTE)
        .span_context
        .span_id()
        .to_string();
    assert_eq!(request.headers["baggage"], "tenant=acme");
    assert_eq!(request.headers["tracestate"], "mine=1");
    for header in ["b3", "uber-trace-id"] {
        assert!(request.headers[header].contains(&execute), "{header}");
    }
}

#[tokio::test]
async fn a_trace_that_began_outside_reaches_the_worker_in_every_format() {
    use PropagatorType::{B3, B3Multi, Jaeger, TraceContext};

    for format in [TraceContext, B3, B3Multi, Jaeger] {
        let spans = MemorySpans::default();
        let provider = Provider::builder().enabled(true).propagators([format]);
        let provider = provider.in_memory(&spans).start().unwrap();
        let rig = Rig::start(provider.tracer("t"), |request| echo(request, RAN)).await;
        let outside = Context::new().with_remote_span_context(remote(true));
        let mut incoming = std::collections::HashMap::new();
        provider.propagator().inject_pairs(&outside, &mut incoming);

        let context = provider.propagator().extract_pairs(&incoming);
        let guard = context.attach();
        rig.call().await.unwrap();
        drop(guard);
        let trace = rig.request().trace.unwrap();
        assert_eq!(
            trace.trace_id,
            remote(true).trace_id().to_bytes(),
            "{format:?}"
        );
        let call = named(&spans.finished(), CALL);
        assert_eq!(call.parent_span_id, remote(true).span_id(), "{format:?}");
    }
}

#[tokio::test]
async fn context_that_does_not_fit_is_left_out() {
    let (provider, _spans) = provider();
    let rig = Rig::start(provider.tracer("t"), |request| echo(request, RAN)).await;
    let context = Context::new().with_baggage([KeyValue::new("a", "b")]);
    let guard = context.attach();
    let mut call = rig.pool.request("listed", &1);
    for number in 0..127 {
        call = call.header(format!("h{number}"), "x");
    }
    call.call::<Value>().await.unwrap();
    let call = rig
        .pool
        .request("listed", &1)
        .header("large", "x".repeat(64 * 1024 - 5));
    call.call::<Value>().await.unwrap();
    drop(guard);
    assert_eq!(rig.request().headers.len(), 127);
    assert_eq!(rig.request().headers.len(), 1);
}
