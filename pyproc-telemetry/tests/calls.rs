//! The spans of a pool's calls.

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
    pin::pin,
    sync::mpsc::{Receiver, channel},
    task::{Context as TaskContext, Waker},
    time::{Duration, Instant, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    trace::{
        SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceState,
        Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use pyproc_pool::{
    Error, Pool, PoolBuilder,
    protocol::{
        Failure, Times,
        v2::{Request, Response},
    },
};
use pyproc_telemetry::{
    MemorySpans, PoolBuilderExt, PropagatorType, Provider, TailSampling, Tracer,
};
use serde_json::{Value, json};
use sidecar::{Reply, Sockets, echo, serve};

/// Less than any call takes.
const RAN: Duration = Duration::from_micros(1);
const LONG: Duration = Duration::from_secs(60);
const CALL: &str = "pyproc.pool.call";
const EXECUTE: &str = "pyproc.worker.execute";

fn provider() -> (Provider, MemorySpans) {
    let spans = MemorySpans::default();
    let provider = Provider::builder().enabled(true).sampling_rate(1.0);
    (provider.in_memory(&spans).start().unwrap(), spans)
}

/// A pool with one worker that answers so, and the requests that it got.
struct Rig {
    pool: Pool,
    requests: Receiver<Request>,
    _sockets: Sockets,
}

impl Rig {
    async fn start(
        tracer: Tracer,
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with(|builder| builder, tracer, reply).await
    }

    async fn with(
        change: impl FnOnce(PoolBuilder) -> PoolBuilder,
        tracer: Tracer,
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let sockets = Sockets::new();
        let socket = sockets.path("worker.sock");
        let (seen, requests) = channel();
        let seen = std::sync::Mutex::new(seen);
        serve(&socket, move |request| {
            // The test may have seen enough.
            let _ = seen.lock().unwrap().send(request.clone());
            reply(request)
        });
        let builder = Pool::builder()
            .external_sockets([&socket])
            .request_timeout(LONG)
            .with_tracer(tracer);
        Self {
            pool: change(builder).start().await.unwrap(),
            requests,
            _sockets: sockets,
        }
    }

    async fn call(&self) -> Result<Value, Error> {
        self.pool.call("listed", &json!(1)).await
    }

    fn request(&self) -> Request {
        self.requests.recv_timeout(LONG).unwrap()
    }
}

fn named(spans: &[SpanData], name: &str) -> SpanData {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "more than one {name}");
    span.clone()
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    attribute_of(&span.attributes, name)
}

fn attribute_of(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key.as_str() == name)?;
    Some(found.value.to_string())
}

fn is_within(inner: &SpanData, outer: &SpanData) -> bool {
    outer.start_time <= inner.start_time
        && inner.start_time <= inner.end_time
        && inner.end_time <= outer.end_time
}

/// The attributes of the one event, an exception.
fn exception(span: &SpanData) -> [Option<String>; 3] {
    let [event] = span.events.events.as_slice() else {
        panic!("{:?}", span.events);
    };
    assert_eq!(event.name, "exception");
    [
        "exception.type",
        "exception.message",
        "exception.stacktrace",
    ]
    .map(|name| attribute_of(&event.attributes, name))
}

fn remote(sampled: bool) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(sampled);
    let state = TraceState::from_key_value([("vendor", "a")]).unwrap();
    SpanContext::new(0xabc.into(), 0xdef.into(), flags, true, state)
}

#[tokio::test]
async fn one_trace_holds_the_applications_span_the_call_and_the_execution() {
    let (provider, spans) = provider();
    let tracer = provider.tracer("shop");
    let rig = Rig::start(tracer.clone(), |request| echo(request, RAN)).await;
    let application = tracer.start("process_request");
    let context = Context::current_with_span(application);
    let guard = context.clone().attach();
    let begin = Instant::now();
    rig.call().await.unwrap();
    let whole = begin.elapsed();
    drop(guard);
    context.span().end();

    let spans = spans.finished();
    assert_eq!(spans.len(), 3);
    let application = named(&spans, "process_request");
    let (call, execute) = (named(&spans, CALL), named(&spans, EXECUTE));
    let trace = application.span_context.trace_id();
    assert!(spans.iter().all(|it| it.span_context.trace_id() == trace));
    assert_eq!(call.parent_span_id, application.span_context.span_id());
    assert_eq!(execute.parent_span_id, call.span_context.span_id());
    assert_eq!(call.span_kind, SpanKind::Client);
    assert_eq!(execute.span_kind, SpanKind::Server);
    assert!(is_within(&execute, &call) && is_within(&call, &application));
    assert_eq!(execute.instrumentation_scope.name(), "shop");
    for span in [&call, &execute] {
        assert_eq!(span.status, Status::Unset);
        for (name, value) in [
            ("function_name", "listed"),
            ("worker_id", "0"),
            ("rpc.system.name", "pyproc"),
            ("rpc.method", "listed"),
        ] {
            assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(attribute(span, "error.type"), None);
    }
    let parts = [
        "pyproc.queue.seconds",
        "pyproc.transport.seconds",
        "pyproc.execute.seconds",
    ];
    let parts = parts.map(|name| attribute(&call, name).unwrap().parse::<f64>().unwrap());
    assert!(parts.iter().sum::<f64>() <= whole.as_secs_f64() + 1e-9);
    assert_eq!(parts[2], RAN.as_secs_f64());

    // What the function sees is the span that stands for it.
    let seen = rig.request().trace.unwrap();
    assert_eq!(
        SpanId::from_bytes(seen.span_id),
        execute.span_context.span_id()
    );
    assert_eq!((seen.trace_id, seen.flags), (trace.to_bytes(), 1));
}

#[tokio::test]
async fn the_current_tracing_span_is_the_parent() {
    use tracing::{Instrument, instrument::WithSubscriber};
    use tracing_subscriber::layer::SubscriberExt;

    let (provider, spans) = provider();
    let tracer = provider.tracer("shop");
    let rig = Rig::start(tracer.clone(), |request| echo(request, RAN)).await;
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let subscriber = tracing_subscriber::registry().with(layer);
    let work = async {
        let call = rig.call();
        call.instrument(tracing::info_span!("handler"))
            .await
            .unwrap();
    };
    work.with_subscriber(subscriber).await;

    let spans = spans.finished();
    let (handler, call) = (named(&spans, "handler"), named(&spans, CALL));
    assert_eq!(call.parent_span_id, handler.span_context.span_id());
    assert_eq!(
        call.span_context.trace_id(),
        handler.span_context.trace_id()
    );
}

#[tokio::test]
async fn an_exception_is_on_both_spans() {
    let (provider, spans) = provider();
    let rig = Rig::start(provider.tracer("t"), |request| {
        let failure = Failure {
            type_name: "shop.NoStock".into(),
            message: "sold out".into(),
            traceback: "x".repeat(100_000) + "in price",
            retryable: false,
        };
        Reply::Answer(Response {
            times: Some(Times {
                start: SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap(),
                duration: Duration::ZERO,
            }),
            ..Response::failure(request.id, failure)
        })
    })
    .await;
    assert!(matches!(rig.call().await, Err(Error::Remote(_))));
    let spans = spans.finished();
    assert_eq!(spans.len(), 2);
    for span in &spans {
        assert_eq!(span.status, Status::error("shop.NoStock: sold out"));
        assert_eq!(attribute(span, "error.type").unwrap(), "shop.NoStock");
        let [name, message, stack] = exception(span);
        assert_eq!(name.unwrap(), "shop.NoStock");
        assert_eq!(message.unwrap(), "sold out");
        // Spans wait in memory: of a long traceback the end is kept.
        let stack = stack.unwrap();
        assert!(stack.ends_with("in price") && stack.len() <= 16 * 1024);
    }
}

/// The call's span, which says that it failed so, and is the only one.
fn failed(spans: &MemorySpans, kind: &str) -> SpanData {
    let all = spans.finished();
    spans.clear();
    assert_eq!(all.len(), 1, "{kind}");
    let call = named(&all, CALL);
    assert!(matches!(call.status, Status::Error { .. }), "{kind}");
    assert_eq!(attribute(&call, "error.type").unwrap(), kind);
    assert_eq!(exception(&call)[0].as_deref(), Some(kind));
    call
}

#[tokio::test]
async fn a_call_that_gets_no_answer_has_a_span_that_says_why() {
    let (provider, spans) = provider();
    let one = |builder: PoolBuilder| builder.max_in_flight(1).max_queue(0);
    let rig = Rig::with(one, provider.tracer("t"), |_| Reply::Never).await;

    let mut dropped = Box::pin(rig.call());
    let mut context = TaskContext::from_waker(Waker::noop());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    assert!(matches!(rig.call().await, Err(Error::Overloaded { .. })));
    failed(&spans, "overloaded");
    drop(dropped);
    failed(&spans, "abandoned");

    rig.pool.shutdown(Duration::ZERO).await;
    assert!(matches!(rig.call().await, Err(Error::ShutDown)));
    failed(&spans, "shut_down");
}

#[tokio::test]
async fn a_timeout_has_a_span_with_the_worker_that_had_the_call() {
    let (provider, spans) = provider();
    let rig = Rig::start(provider.tracer("t"), |_| Reply::Never).await;
    let call = rig.pool.request("listed", &1);
    let call = call.timeout(Duration::from_millis(20));
    assert!(matches!(call.call::<Value>().await, Err(Error::Timeout(_))));
    let span = failed(&spans, "timeout");
    assert_eq!(attribute(&span, "worker_id").unwrap(), "0");
}

#[tokio::test]
async fn a_call_whose_worker_hangs_up_has_a_span_that_says_so() {
    let (provider, spans) = provider();
    let rig = Rig::start(provider.tracer("t"), |_| Reply::Die).await;
    assert!(matches!(rig.call().await, Err(Error::WorkerDied(_))));
    let span = failed(&spans, "worker_unavailable");
    let [_, message, _] = exception(&span);
    assert!(message.unwrap().contains("closed its connection"));
}

#[tokio::test]
async fn a_result_of_another_type_fails_the_call_but_not_the_execution() {
    let (provider, spans) = provider();
    let rig = Rig::start(provider.tracer("t"), |request| echo(request, RAN)).await;
    assert!(rig.pool.call::<_, String>("listed", &1).await.is_err());
    let spans = spans.finished();
    assert_eq!(
        attribute(&named(&spans, CALL), "error.type").unwrap(),
        "decode"
    );
    assert_eq!(named(&spans, EXECUTE).status, Status::Unset);
}

#[tokio::test]
async fn an_execution_stays_within_its_call_whatever_the_clocks_say() {
    const HOUR: Duration = Duration::from_secs(3600);
    for clock in [SystemTime::now() - HOUR, SystemTime::now() + HOUR] {
        for ran in [RAN, HOUR] {
            let (provider, spans) = provider();
            let rig = Rig::start(provider.tracer("t"), move |request| {
                let Reply::Answer(answer) = echo(request, RAN) else {
                    return Reply::Never;
                };
                let start = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap();
                let times = Times {
                    start,
                    duration: ran,
                };
                Reply::Answer(Response {
                    times: Some(times),
                    ..answer
                })
            })
            .await;
            rig.call().await.unwrap();
            let spans = spans.finished();
            assert!(is_within(&named(&spans, EXECUTE), &named(&spans, CALL)));
        }
    }
}

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

/// The flag of W3C's level 2, which says of a trace's id that it is random.
const RANDOM: TraceFlags = TraceFlags::new(2);

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

#[tokio::test]
async fn somebody_elses_provider_gets_both_spans() {
    let exporter = InMemorySpanExporter::default();
    let sdk = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let rig = Rig::start(sdk.tracer("t").into(), |request| echo(request, RAN)).await;
    rig.call().await.unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 2);
    let (call, execute) = (named(&spans, CALL), named(&spans, EXECUTE));
    assert_eq!(execute.parent_span_id, call.span_context.span_id());
    assert!(is_within(&execute, &call));
    let seen = rig.request().trace.unwrap();
    assert_eq!(
        SpanId::from_bytes(seen.span_id),
        call.span_context.span_id()
    );
}

#[tokio::test]
async fn tail_sampling_keeps_a_call_that_failed_with_its_execution() {
    let spans = MemorySpans::default();
    let provider = Provider::builder()
        .enabled(true)
        .sampling_rate(0.0)
        .tail_sampling(TailSampling::default())
        .in_memory(&spans)
        .start()
        .unwrap();
    let rig = Rig::start(provider.tracer("t"), |request| echo(request, RAN)).await;
    rig.call().await.unwrap();
    assert!(spans.finished().is_empty());
    assert!(rig.pool.call::<_, String>("listed", &1).await.is_err());
    let spans = spans.finished();
    let (call, execute) = (named(&spans, CALL), named(&spans, EXECUTE));
    assert_eq!(execute.parent_span_id, call.span_context.span_id());
    assert_eq!(rig.request().trace.unwrap().flags, 0);
}

#[tokio::test]
async fn python_functions_are_in_the_trace_whatever_becomes_of_them() {
    let (provider, spans) = provider();
    let pool = python::shop().with_tracer(provider.tracer("shop"));
    let pool = pool.start().await.unwrap();
    let price: Value = pool.call("price", &json!({"count": 3})).await.unwrap();
    assert_eq!(price, json!({"price": 6}));
    let all = spans.finished();
    spans.clear();
    let (call, execute) = (named(&all, CALL), named(&all, EXECUTE));
    assert_eq!(execute.parent_span_id, call.span_context.span_id());
    assert!(is_within(&execute, &call));

    let input = json!({"name": "x"});
    assert!(pool.call::<_, Value>("fail", &input).await.is_err());
    let all = spans.finished();
    spans.clear();
    let [name, message, stack] = exception(&named(&all, EXECUTE));
    assert_eq!(
        (name.unwrap(), message.unwrap()),
        ("KeyError".into(), "'x'".into())
    );
    assert!(stack.unwrap().contains("in fail"));

    let slow = pool
        .request("forever", &1)
        .timeout(Duration::from_millis(50));
    assert!(slow.call::<Value>().await.is_err());
    failed(&spans, "timeout");
}

#[tokio::test]
async fn a_python_worker_that_is_killed_leaves_a_span_that_names_its_end() {
    let (provider, spans) = provider();
    let pool = python::shop().with_tracer(provider.tracer("shop"));
    let pool = pool.start().await.unwrap();
    let mut call = pin!(pool.call::<_, Value>("die", &1));
    assert!(call.as_mut().await.is_err());
    let span = failed(&spans, "worker_unavailable");
    assert!(
        exception(&span)[1]
            .as_ref()
            .unwrap()
            .contains("exit status: 7")
    );
}
