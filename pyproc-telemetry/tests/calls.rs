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
#[path = "support/traced_pool.rs"]
mod traced_pool;

use traced_pool::*;

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
