//! A collector that is down, refuses, hangs or is slow: nothing waits for it beyond the limit, and what
//! was lost is counted.
//!
//! Each time that is not the subject is [`LONG`], so that waiting for the wrong thing fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    sync::{
        Arc, Barrier,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use opentelemetry::trace::{Span, Tracer};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use pyproc_telemetry::{BatchConfig, Provider, ProviderBuilder};
use support::{Collector, LONG, Reply, nobody};

const SHORT: Duration = Duration::from_millis(100);

fn enabled() -> ProviderBuilder {
    Provider::builder()
        .enabled(true)
        .timeout(LONG)
        .shutdown_timeout(LONG)
        .batch(BatchConfig {
            max_queue_size: 10,
            max_export_batch_size: 4,
            schedule_delay: LONG,
            export_timeout: LONG,
        })
}

fn end_spans(provider: &Provider, count: usize) {
    let tracer = provider.tracer("t");
    for _ in 0..count {
        tracer.start("s").end();
    }
}

#[test]
fn a_collector_that_is_down_costs_the_exit_one_attempt_and_is_named() {
    let provider = enabled().endpoint(nobody()).start().unwrap();
    end_spans(&provider, 3);
    let error = provider.shutdown_blocking().unwrap_err();
    assert_eq!((error.spans, error.timed_out), (3, None));
    let reason = &error.source.as_ref().unwrap().reason;
    assert!(reason.contains("refused"), "{reason}");
    assert_eq!((error.stats.failed, error.stats.ended()), (3, 3));
}

#[test]
fn a_shutdown_tries_an_overloaded_collector_once() {
    let collector = Collector::replying(|_| Reply::Status(503, ""));
    let provider = enabled().endpoint(collector.endpoint()).start().unwrap();
    end_spans(&provider, 3);
    let error = provider.shutdown_blocking().unwrap_err();
    assert_eq!((error.stats.failed, error.timed_out), (3, None));
    assert_eq!(collector.requests(), 1);
}

#[test]
fn a_flush_with_the_collector_down_ends_at_its_limit_and_says_why() {
    let provider = enabled().endpoint(nobody()).start().unwrap();
    end_spans(&provider, 3);
    let reason = loop {
        let error = provider.flush_blocking(SHORT).unwrap_err();
        assert_eq!((error.spans, error.timed_out), (3, Some(SHORT)));
        // Unless not even the first attempt was over by then.
        if let Some(source) = error.source {
            break source.reason;
        }
    };
    assert!(reason.contains("refused"), "{reason}");
    // They still wait, for a collector that may come back.
    assert_eq!(provider.stats().waiting, 3);
}

#[test]
fn a_hanging_collector_holds_up_neither_spans_nor_the_exit() {
    let collector = Collector::replying(|_| Reply::Hang);
    let provider = enabled()
        .endpoint(collector.endpoint())
        .shutdown_timeout(SHORT)
        .start()
        .unwrap();
    end_spans(&provider, 4);
    support::eventually(|| collector.requests() == 1);
    end_spans(&provider, 1000);
    let stats = provider.stats();
    assert_eq!((stats.waiting, stats.queue_full), (10, 994));

    let error = provider.shutdown_blocking().unwrap_err();
    assert_eq!((error.spans, error.timed_out), (10, Some(SHORT)));
    let stats = error.stats;
    assert_eq!((stats.shut_down, stats.queue_full), (10, 994));
    assert_eq!((stats.waiting, stats.ended()), (0, 1004));
}

#[test]
fn a_batch_ends_at_its_own_limit() {
    let collector = Collector::replying(|number| match number {
        0 => Reply::Hang,
        _ => Reply::Take,
    });
    let provider = enabled()
        .endpoint(collector.endpoint())
        .timeout(10 * SHORT)
        .start()
        .unwrap();
    end_spans(&provider, 4);
    let error = provider.flush_blocking(LONG).unwrap_err();
    assert!(error.source.unwrap().reason.contains("no answer in time"));
    end_spans(&provider, 2);
    let stats = provider.shutdown_blocking().unwrap();
    assert_eq!((stats.failed, stats.failures, stats.exported), (4, 1, 2));
}

#[test]
fn a_collector_that_drips_its_answer_is_given_up_at_the_limit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        // Each byte comes in time for a limit on single reads.
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let provider = enabled()
        .endpoint(format!("http://{address}"))
        .timeout(SHORT)
        .start()
        .unwrap();
    end_spans(&provider, 1);
    let error = provider.flush_blocking(LONG).unwrap_err();
    assert_eq!(error.stats.failed, 1);
}

#[test]
fn spans_that_end_after_the_shutdown_are_counted_as_lost() {
    let collector = Collector::start();
    let registry = prometheus::Registry::new();
    let provider = enabled().endpoint(collector.endpoint()).start().unwrap();
    pyproc_telemetry::register_pipeline(&provider, &registry).unwrap();
    let tracer = provider.tracer("t");
    let mut open = tracer.start("open");
    tracer.start("done").end();
    assert_eq!(provider.shutdown_blocking().unwrap().exported, 1);
    open.end();
    let shown = pyproc_telemetry::render_metrics(
        &registry,
        &pyproc_telemetry::Exemplars::default(),
        pyproc_telemetry::MetricsFormat::Text,
    )
    .unwrap();
    assert!(
        shown.contains("pyproc_spans_total{outcome=\"shut_down\"} 1\n"),
        "{shown}"
    );
    assert!(
        shown.contains("pyproc_spans_total{outcome=\"exported\"} 1\n"),
        "{shown}"
    );
}

#[test]
fn counts_are_exact_whatever_the_collector_does() {
    // Takes, refuses, is overloaded, takes a part, closes: over and over.
    let collector = Collector::replying(|number| match number % 5 {
        0 => Reply::Take,
        1 => Reply::Status(400, ""),
        2 => Reply::Status(503, "retry-after: 3600\r\n"),
        3 => Reply::Partly(1),
        _ => Reply::Take,
    });
    let provider = enabled()
        .endpoint(collector.endpoint())
        .batch(BatchConfig {
            max_queue_size: 64,
            max_export_batch_size: 8,
            schedule_delay: Duration::from_millis(1),
            export_timeout: LONG,
        })
        .start()
        .unwrap();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..50 {
                    end_spans(&provider, 50);
                    assert!(provider.stats().waiting <= 64);
                }
            });
        }
    });
    let stats = match provider.shutdown_blocking() {
        Ok(stats) => stats,
        Err(error) => *error.stats,
    };
    assert_eq!(stats.ended(), 4 * 50 * 50);
    assert_eq!(stats.waiting, 0);
    let partly = collector.taken().len() as u64;
    let arrived = collector.spans().len() as u64;
    // Of what arrived, one was refused of each request that was taken in part.
    assert!(stats.exported <= arrived && arrived <= stats.exported + partly);
    assert!(
        stats.exported > 0 && stats.refused > 0 && stats.failed > 0,
        "{stats:?}"
    );
}

/// Exports what it is allowed to, or panics.
#[derive(Debug)]
struct Gate {
    open: std::sync::Mutex<Receiver<bool>>,
}

fn gate() -> (Gate, Sender<bool>) {
    let (sender, open) = channel();
    let open = std::sync::Mutex::new(open);
    (Gate { open }, sender)
}

impl SpanExporter for Gate {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        let received = self.open.lock().unwrap_or_else(|it| it.into_inner()).recv();
        match received {
            Ok(true) => Ok(()),
            _ => panic!("told to"),
        }
    }
}

#[test]
fn an_exporter_that_panics_loses_its_batch_and_no_more() {
    let (exporter, open) = gate();
    let provider = enabled().exporter(exporter).start().unwrap();
    end_spans(&provider, 2);
    open.send(false).unwrap();
    let error = provider.flush_blocking(LONG).unwrap_err();
    assert_eq!(error.source.unwrap().reason, "the exporter panicked");
    end_spans(&provider, 3);
    open.send(true).unwrap();
    let stats = provider.shutdown_blocking().unwrap();
    assert_eq!((stats.failed, stats.exported), (2, 3));
}

/// The shutdown of a provider whose collector hangs, on whatever this is called on.
///
/// Whether the batch or the shutdown comes to its limit first is open; the spans are lost either way.
fn lost_to_a_hanging_collector() -> u64 {
    let collector = Collector::replying(|_| Reply::Hang);
    let provider = enabled()
        .endpoint(collector.endpoint())
        .shutdown_timeout(SHORT)
        .start()
        .unwrap();
    end_spans(&provider, 3);
    let stats = provider.shutdown_blocking().unwrap_err().stats;
    assert_eq!((stats.exported, stats.waiting), (0, 0));
    stats.lost()
}

#[test]
fn no_runtime_is_needed_and_none_deadlocks() {
    use tokio::runtime::Builder;

    let runtimes = [
        Builder::new_current_thread().build().unwrap(),
        Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap(),
        Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap(),
    ];
    assert_eq!(lost_to_a_hanging_collector(), 3);
    for runtime in &runtimes {
        // In the task itself, on a blocking thread, and by the async way with a collector that takes all.
        let inside = runtime.block_on(async { lost_to_a_hanging_collector() });
        assert_eq!(inside, 3);
        let beside = runtime.block_on(async {
            let blocking = tokio::task::spawn_blocking(lost_to_a_hanging_collector);
            blocking.await.unwrap()
        });
        assert_eq!(beside, 3);
        let collector = Arc::new(Collector::start());
        let endpoint = collector.endpoint();
        let stats = runtime.block_on(async move {
            let task = tokio::spawn(async move {
                let provider = enabled().endpoint(endpoint).start().unwrap();
                end_spans(&provider, 3);
                provider.flush(LONG).await.unwrap();
                end_spans(&provider, 2);
                provider.shutdown().await.unwrap()
            });
            task.await.unwrap()
        });
        assert_eq!(stats.exported, 5);
        assert_eq!(collector.spans().len(), 5);
    }
}

#[test]
fn an_async_shutdown_leaves_the_runtime_to_others() {
    let (exporter, open) = gate();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let provider = enabled().exporter(exporter).start().unwrap();
        end_spans(&provider, 1);
        // The only thread of the runtime opens the gate that the shutdown waits for.
        let other = async { open.send(true).unwrap() };
        let (stats, ()) = tokio::join!(provider.shutdown(), other);
        assert_eq!(stats.unwrap().exported, 1);
    });
}

#[test]
fn a_limit_may_be_as_long_as_it_wants() {
    let collector = Collector::start();
    let provider = enabled()
        .endpoint(collector.endpoint())
        .timeout(Duration::MAX)
        .batch(BatchConfig {
            schedule_delay: Duration::MAX,
            export_timeout: Duration::MAX,
            ..BatchConfig::default()
        })
        .shutdown_timeout(Duration::MAX)
        .start()
        .unwrap();
    end_spans(&provider, 3);
    provider.flush_blocking(Duration::MAX).unwrap();
    end_spans(&provider, 2);
    assert_eq!(provider.shutdown_blocking().unwrap().exported, 5);
}

#[test]
fn a_dropped_provider_exports_what_waits() {
    let collector = Collector::start();
    let provider = enabled().endpoint(collector.endpoint()).start().unwrap();
    end_spans(&provider, 3);
    drop(provider);
    assert_eq!(collector.spans().len(), 3);
}
