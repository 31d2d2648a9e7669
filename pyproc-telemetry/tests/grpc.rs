//! What arrives at a collector over gRPC.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/grpc.rs"]
mod grpc;
mod support;

use std::time::Duration;

use grpc::Collector;
use opentelemetry::trace::{Span, Tracer};
use pyproc_telemetry::{BatchConfig, Compression, OtlpProtocol, Provider, ProviderBuilder};
use support::{LONG, nobody};
use tonic::Status;

fn to(address: String) -> ProviderBuilder {
    Provider::builder()
        .service_name("shop")
        .enabled(true)
        .protocol(OtlpProtocol::Grpc)
        .endpoint(address)
        .timeout(LONG)
        .shutdown_timeout(LONG)
        .batch(BatchConfig {
            schedule_delay: LONG,
            ..BatchConfig::default()
        })
}

fn end_spans(provider: &Provider, count: usize) {
    for _ in 0..count {
        provider.tracer("t").start("s").end();
    }
}

#[test]
fn spans_arrive_with_metadata_plain_and_compressed() {
    for compression in [Compression::None, Compression::Gzip] {
        let (collector, address) = Collector::start(|_| Some(Ok(0)));
        let provider = to(format!("http://{address}"))
            .compression(compression)
            .header("X-Api-Key", "s3cret")
            .start()
            .unwrap();
        end_spans(&provider, 3);
        provider.flush_blocking(LONG).unwrap();
        end_spans(&provider, 1);
        let stats = provider.shutdown_blocking().unwrap();
        assert_eq!(stats.exported, 4);
        assert_eq!(collector.spans().len(), 4);
        let requests = collector.requests.lock().unwrap();
        assert_eq!(requests[0].metadata().get("x-api-key").unwrap(), "s3cret");
        let resource = requests[0].get_ref().resource_spans[0]
            .resource
            .as_ref()
            .unwrap();
        assert_eq!(
            support::text(&resource.attributes, "service.name").unwrap(),
            "shop"
        );
    }
}

#[test]
fn it_works_on_every_runtime() {
    use tokio::runtime::Builder;

    for runtime in [
        Builder::new_current_thread().build().unwrap(),
        Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap(),
    ] {
        let (collector, address) = Collector::start(|_| Some(Ok(0)));
        runtime.block_on(async {
            let blocking = to(format!("http://{address}")).start().unwrap();
            end_spans(&blocking, 2);
            assert_eq!(blocking.shutdown_blocking().unwrap().exported, 2);
            let waiting = to(format!("http://{address}")).start().unwrap();
            end_spans(&waiting, 3);
            assert_eq!(waiting.shutdown().await.unwrap().exported, 3);
        });
        assert_eq!(collector.spans().len(), 5);
    }
}

#[test]
fn what_is_worth_another_try_is_tried_again_and_what_is_not_is_not() {
    let (collector, address) = Collector::start(|number| match number {
        0 => Some(Err(Status::unavailable("busy"))),
        1 => Some(Ok(2)),
        _ => Some(Err(Status::unauthenticated("who are you"))),
    });
    let provider = to(format!("http://{address}")).start().unwrap();
    end_spans(&provider, 3);
    assert_eq!(provider.flush_blocking(LONG).unwrap_err().spans, 2);
    end_spans(&provider, 4);
    let error = provider.flush_blocking(LONG).unwrap_err();
    let source = error.source.unwrap();
    assert!(
        source.refused && source.reason.contains("who are you"),
        "{source}"
    );
    let stats = provider.stats();
    assert_eq!((stats.exported, stats.refused, stats.failures), (1, 6, 1));
    assert_eq!(collector.requests.lock().unwrap().len(), 3);
}

#[test]
fn a_collector_that_is_down_or_hangs_holds_nothing_up() {
    let provider = to(nobody()).start().unwrap();
    end_spans(&provider, 3);
    let error = provider.shutdown_blocking().unwrap_err();
    assert_eq!((error.stats.failed, error.timed_out), (3, None));
    assert!(error.source.is_some());

    let limit = Duration::from_millis(100);
    let (collector, address) = Collector::start(|_| None);
    let provider = to(format!("http://{address}"))
        .shutdown_timeout(limit)
        .start()
        .unwrap();
    end_spans(&provider, 3);
    let error = provider.shutdown_blocking().unwrap_err();
    assert_eq!((error.stats.ended(), error.stats.exported), (3, 0));
    drop(collector);

    let (_collector, address) = Collector::start(|_| None);
    let provider = to(format!("http://{address}"))
        .timeout(limit)
        .start()
        .unwrap();
    end_spans(&provider, 3);
    let error = provider.flush_blocking(LONG).unwrap_err();
    assert_eq!(error.stats.failed, 3);
}
