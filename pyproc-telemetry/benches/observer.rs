//! The overhead of an observer for each call, in nanoseconds on the caller's thread.
//!
//! A real call of a real pool gives the events. At each event, the observer is notified many times, as if that many calls
//! started, were sent and completed together. The results are medians over many calls, compared with an observer that does
//! nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark fails by panicking"
)]

#[path = "../tests/support/sidecar.rs"]
mod sidecar;

use std::{
    env,
    hint::black_box,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use opentelemetry::Context;
use pyproc_pool::{
    Pool,
    observe::{CallEnd, CallObserver, CallStart, Observer, RequestMetadata},
};
use pyproc_telemetry::{
    BatchConfig, ExporterType, PoolMetrics, Provider, Telemetry, prometheus::Registry,
};
use serde_json::Value;

/// Calls that are in flight together.
const CALLS: usize = 64;

type Times = Arc<Mutex<Vec<Duration>>>;

fn main() {
    // `cargo test` runs it too.
    let rounds = if env::args().any(|it| it == "--bench") {
        4000
    } else {
        20
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!("{:<44} {:>8} {:>8}", "ns a call", "median", "above");
    let floor = runtime.block_on(measure(Arc::new(Nothing), rounds));
    println!("{:<44} {floor:>8.0}", "an observer that does nothing");
    for (name, observer) in observers() {
        let median = runtime.block_on(measure(observer, rounds));
        println!("{name:<44} {median:>8.0} {:>8.0}", median - floor);
    }
}

fn observers() -> Vec<(&'static str, Arc<dyn Observer>)> {
    let metrics = PoolMetrics::builder()
        .functions(["listed"])
        .register(&Registry::new())
        .expect("metrics");
    let traced = |rate| Telemetry::default().tracer(tracer(rate));
    vec![
        ("metrics", Arc::new(Telemetry::default().metrics(&metrics))),
        ("traced, sampled at 0 %", Arc::new(traced(0.0))),
        ("traced, sampled at 1 %", Arc::new(traced(0.01))),
        ("traced, sampled at 100 %", Arc::new(traced(1.0))),
        (
            "traced at 1 %, and metrics",
            Arc::new(traced(0.01).metrics(&metrics)),
        ),
        (
            "traced at 100 %, and metrics",
            Arc::new(traced(1.0).metrics(&metrics)),
        ),
    ]
}

/// Spans go through the queue, to an exporter that drops them.
fn tracer(rate: f64) -> pyproc_telemetry::Tracer {
    let provider = Provider::builder()
        .enabled(true)
        .sampling_rate(rate)
        .exporter_type(ExporterType::Otlp)
        .exporter(Drop)
        .batch(BatchConfig {
            max_queue_size: 1 << 16,
            ..BatchConfig::default()
        })
        .start()
        .expect("a provider");
    let tracer = provider.tracer("bench");
    std::mem::forget(provider);
    tracer
}

#[derive(Debug)]
struct Drop;

impl opentelemetry_sdk::trace::SpanExporter for Drop {
    async fn export(
        &self,
        batch: Vec<opentelemetry_sdk::trace::SpanData>,
    ) -> opentelemetry_sdk::error::OTelSdkResult {
        drop(black_box(batch));
        Ok(())
    }
}

async fn measure(observer: Arc<dyn Observer>, rounds: usize) -> f64 {
    let sockets = sidecar::Sockets::new();
    let socket = sockets.path("bench.sock");
    sidecar::serve(&socket, |request| {
        sidecar::echo(request, Duration::from_micros(5))
    });
    let times = Times::default();
    let many = Many {
        inner: observer,
        times: Arc::clone(&times),
    };
    let pool = Pool::builder()
        .external_sockets([&socket])
        .observer(Arc::new(many))
        .start()
        .await
        .expect("a pool");
    let _root = Context::new().attach();
    for _ in 0..rounds {
        let _: Value = pool.call("listed", &1).await.expect("a result");
    }
    pool.shutdown(Duration::ZERO).await;
    let mut times = std::mem::take(&mut *times.lock().expect("times"));
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64 / CALLS as f64
}

#[derive(Debug)]
struct Nothing;

struct NothingOfOne(#[expect(dead_code, reason = "so that there is something to allocate")] usize);

impl Observer for Nothing {
    fn begin(
        &self,
        call: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        Some(Box::new(NothingOfOne(call.method.len())))
    }
}

impl CallObserver for NothingOfOne {
    fn end(self: Box<Self>, end: &CallEnd<'_>) {
        black_box(end);
    }
}

/// Asks another observer many times over.
#[derive(Debug)]
struct Many {
    inner: Arc<dyn Observer>,
    times: Times,
}

struct ManyCalls {
    calls: Vec<Option<Box<dyn CallObserver>>>,
    spent: Duration,
    times: Times,
}

impl Observer for Many {
    fn begin(
        &self,
        call: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        let mut calls = Vec::with_capacity(CALLS);
        let begin = Instant::now();
        calls.extend((0..CALLS).map(|_| self.inner.begin(black_box(call), metadata)));
        let spent = begin.elapsed();
        metadata.times = true;
        Some(Box::new(ManyCalls {
            calls,
            spent,
            times: Arc::clone(&self.times),
        }))
    }
}

impl CallObserver for ManyCalls {
    fn end(mut self: Box<Self>, end: &CallEnd<'_>) {
        let begin = Instant::now();
        for call in self.calls.drain(..).flatten() {
            call.end(end);
        }
        self.spent += begin.elapsed();
        self.times.lock().expect("times").push(self.spent);
    }
}
