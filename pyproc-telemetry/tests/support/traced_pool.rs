//! A traced pool with one scripted worker.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each user takes its part"
)]

pub use super::sidecar::{Reply, Sockets, echo, serve};
pub use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    trace::{
        SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceState,
        Tracer as _, TracerProvider as _,
    },
};
pub use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
pub use pyproc_pool::{
    Error, Pool, PoolBuilder,
    protocol::{
        Failure, Times,
        v2::{Request, Response},
    },
};
pub use pyproc_telemetry::{
    MemorySpans, PoolBuilderExt, PropagatorType, Provider, TailSampling, Tracer,
};
pub use serde_json::{Value, json};
pub use std::{
    future::Future,
    pin::pin,
    sync::mpsc::{Receiver, channel},
    task::{Context as TaskContext, Waker},
    time::{Duration, Instant, SystemTime},
};

/// Less than any call takes.
pub const RAN: Duration = Duration::from_micros(1);

pub const LONG: Duration = Duration::from_secs(60);

pub const CALL: &str = "pyproc.pool.call";

pub const EXECUTE: &str = "pyproc.worker.execute";

pub fn provider() -> (Provider, MemorySpans) {
    let spans = MemorySpans::default();
    let provider = Provider::builder().enabled(true).sampling_rate(1.0);
    (provider.in_memory(&spans).start().unwrap(), spans)
}

/// A pool with one worker that answers so, and the requests that it got.
pub struct Rig {
    pub pool: Pool,
    pub requests: Receiver<Request>,
    pub _sockets: Sockets,
}

impl Rig {
    pub async fn start(
        tracer: Tracer,
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with(|builder| builder, tracer, reply).await
    }

    pub async fn with(
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

    pub async fn call(&self) -> Result<Value, Error> {
        self.pool.call("listed", &json!(1)).await
    }

    pub fn request(&self) -> Request {
        self.requests.recv_timeout(LONG).unwrap()
    }
}

pub fn named(spans: &[SpanData], name: &str) -> SpanData {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "more than one {name}");
    span.clone()
}

pub fn attribute(span: &SpanData, name: &str) -> Option<String> {
    attribute_of(&span.attributes, name)
}

pub fn attribute_of(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key.as_str() == name)?;
    Some(found.value.to_string())
}

pub fn is_within(inner: &SpanData, outer: &SpanData) -> bool {
    outer.start_time <= inner.start_time
        && inner.start_time <= inner.end_time
        && inner.end_time <= outer.end_time
}

/// The attributes of the one event, an exception.
pub fn exception(span: &SpanData) -> [Option<String>; 3] {
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

pub fn remote(sampled: bool) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(sampled);
    let state = TraceState::from_key_value([("vendor", "a")]).unwrap();
    SpanContext::new(0xabc.into(), 0xdef.into(), flags, true, state)
}

/// The call's span, which says that it failed so, and is the only one.
pub fn failed(spans: &MemorySpans, kind: &str) -> SpanData {
    let all = spans.finished();
    spans.clear();
    assert_eq!(all.len(), 1, "{kind}");
    let call = named(&all, CALL);
    assert!(matches!(call.status, Status::Error { .. }), "{kind}");
    assert_eq!(attribute(&call, "error.type").unwrap(), kind);
    assert_eq!(exception(&call)[0].as_deref(), Some(kind));
    call
}

/// The flag of W3C's level 2, which says of a trace's id that it is random.
pub const RANDOM: TraceFlags = TraceFlags::new(2);
