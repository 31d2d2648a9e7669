//! Spans that workers made.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/sidecar.rs"]
mod sidecar;
mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, status::StatusCode};
use pyproc_pool::{
    Pool,
    protocol::v2::{
        Request,
        telemetry::{
            AttributeValue, Attributes, DroppedCounts, LostRecord, Record, Scope, SpanEvent,
            SpanId, SpanKind, SpanLink, SpanRecord, SpanStatus, TraceId,
        },
    },
};
use pyproc_telemetry::{ExportStats, PoolBuilderExt, Provider, ProviderBuilder};
use serde_json::Value;
use sidecar::{Reply, Sockets, echo, serve};
use support::{Collector, LONG, eventually, text};

const RAN: Duration = Duration::from_micros(1);
const OWN_ID: [u8; 8] = [7; 8];

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_nanos().try_into().unwrap()
}

/// A span below the execution of this call.
fn below(request: &Request) -> SpanRecord {
    let trace = request.trace.unwrap();
    SpanRecord {
        trace_id: TraceId::new(trace.trace_id).unwrap(),
        span_id: SpanId::new(OWN_ID).unwrap(),
        parent_span_id: SpanId::new(trace.span_id),
        trace_flags: trace.flags,
        trace_state: "vendor=a".into(),
        name: "load".into(),
        kind: SpanKind::Client,
        start: now() - 1000,
        end: now(),
        attributes: Attributes::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: SpanStatus::Unset,
        scope: Scope::default(),
        resource: None,
        dropped: DroppedCounts::default(),
    }
}

fn attributes<const N: usize>(pairs: [(&str, &str); N]) -> Attributes {
    let text = |it: &str| AttributeValue::Text(it.to_owned());
    pairs
        .map(|(name, value)| (name.to_owned(), text(value)))
        .into()
}

/// What arrives after one call to a worker that reports so, once so many spans have ended.
async fn exported(
    spans: u64,
    change: impl FnOnce(ProviderBuilder) -> ProviderBuilder,
    report: impl Fn(&Request) -> Vec<Record> + Send + Sync + 'static,
) -> (Vec<ResourceSpans>, ExportStats) {
    let collector = Collector::start();
    let provider = Provider::builder()
        .service_name("shop")
        .enabled(true)
        .field("pod_name", "shop-1")
        .endpoint(collector.endpoint())
        .shutdown_timeout(LONG);
    let provider = change(provider).start().unwrap();
    let sockets = Sockets::new();
    let socket = sockets.path("worker.sock");
    serve(&socket, move |request| {
        let records = match request.trace {
            Some(_) => report(request),
            None => Vec::new(),
        };
        Reply::After(records, Box::new(echo(request, RAN)))
    });
    let pool = Pool::builder()
        .external_sockets([&socket])
        .request_timeout(LONG)
        .with_tracer(provider.tracer("shop"))
        .start()
        .await
        .unwrap();
    pool.call::<_, Value>("listed", &1).await.unwrap();
    eventually(|| provider.stats().ended() == spans);
    pool.shutdown(LONG).await;
    let stats = match provider.shutdown().await {
        Ok(stats) => stats,
        Err(error) => panic!("{error}"),
    };
    let requests = collector.taken().into_iter();
    let resources = requests
        .flat_map(|it| it.request().resource_spans)
        .collect();
    (resources, stats)
}

fn span(resources: &[ResourceSpans], name: &str) -> Span {
    let scopes = resources.iter().flat_map(|it| &it.scope_spans);
    let mut spans = scopes.flat_map(|it| &it.spans).filter(|it| it.name == name);
    let span = spans.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(spans.next().is_none(), "more than one {name}");
    span.clone()
}

#[tokio::test]
async fn a_span_of_a_worker_arrives_as_it_was_made() {
    let (resources, stats) = exported(
        3,
        |it| it,
        |request| {
            let mut record = below(request);
            record.attributes = attributes([("db", "shop")]);
            record
                .attributes
                .insert("rows".into(), AttributeValue::Int(3));
            record.events = vec![SpanEvent {
                name: "retried".into(),
                time: record.start + 1,
                attributes: attributes([("why", "busy")]),
            }];
            record.links = vec![SpanLink {
                trace_id: TraceId::new([1; 16]).unwrap(),
                span_id: SpanId::new([2; 8]).unwrap(),
                trace_flags: 1,
                trace_state: String::new(),
                attributes: Attributes::new(),
            }];
            record.status = SpanStatus::Error {
                description: "gone".into(),
            };
            record.scope = Scope {
                name: "shop.db".into(),
                version: "2".into(),
                ..Scope::default()
            };
            record.dropped.events = 4;
            vec![Record::Span(record)]
        },
    )
    .await;
    assert_eq!((stats.exported, stats.lost()), (3, 0), "{stats:?}");
    let (made, execute) = (
        span(&resources, "load"),
        span(&resources, "pyproc.worker.execute"),
    );
    assert_eq!(made.span_id, OWN_ID);
    assert_eq!(made.parent_span_id, execute.span_id);
    assert_eq!(made.trace_id, execute.trace_id);
    assert_eq!(made.trace_state, "vendor=a");
    assert_eq!(made.kind, 3, "client");
    assert!(made.start_time_unix_nano < made.end_time_unix_nano);
    assert_eq!(text(&made.attributes, "db").unwrap(), "shop");
    assert_eq!(text(&made.attributes, "rows").unwrap(), "IntValue(3)");
    assert_eq!(made.events[0].name, "retried");
    assert_eq!(made.events[0].time_unix_nano, made.start_time_unix_nano + 1);
    assert_eq!(text(&made.events[0].attributes, "why").unwrap(), "busy");
    assert_eq!(made.dropped_events_count, 4);
    assert_eq!(made.links[0].span_id, [2; 8]);
    let status = made.status.unwrap();
    assert_eq!(status.code(), StatusCode::Error);
    assert_eq!(status.message, "gone");
    let scopes = resources.iter().flat_map(|it| &it.scope_spans);
    let scope = scopes
        .flat_map(|it| &it.scope)
        .find(|it| it.name == "shop.db");
    assert_eq!(scope.unwrap().version, "2");
    assert_eq!(resources.len(), 1, "no resource of its own");
}

#[tokio::test]
async fn a_worker_with_a_resource_of_its_own_keeps_it() {
    let own = |service: &'static str| {
        move |request: &Request| {
            let mut record = below(request);
            record.resource = Some(attributes([("service.name", service), ("host", "a")]));
            vec![Record::Span(record)]
        }
    };
    for (service, expected) in [("models", "models"), ("unknown_service:python", "shop")] {
        let (resources, stats) = exported(3, |it| it, own(service)).await;
        assert_eq!((stats.exported, stats.lost()), (3, 0), "{stats:?}");
        assert_eq!(resources.len(), 2);
        let theirs = resources.iter().find(|it| {
            let spans = it.scope_spans.iter().flat_map(|it| &it.spans);
            spans.into_iter().any(|it| it.name == "load")
        });
        let attributes = &theirs.unwrap().resource.as_ref().unwrap().attributes;
        assert_eq!(text(attributes, "service.name").unwrap(), expected);
        assert_eq!(text(attributes, "host").unwrap(), "a");
        assert_eq!(text(attributes, "k8s.pod.name").unwrap(), "shop-1");
        assert_eq!(text(attributes, "telemetry.sdk.language"), None);
    }
}

#[tokio::test]
async fn spans_that_cannot_be_and_spans_that_were_lost_are_counted() {
    let (resources, stats) = exported(
        10,
        |it| it,
        |request| {
            let good = below(request);
            let root = SpanRecord {
                parent_span_id: None,
                ..good.clone()
            };
            let unsampled = SpanRecord {
                trace_flags: 0,
                ..good.clone()
            };
            let backwards = SpanRecord {
                end: good.start - 1,
                ..good.clone()
            };
            let lost = LostRecord { logs: 9, spans: 4 };
            let spans = [good, root, unsampled, backwards].map(Record::Span);
            spans.into_iter().chain([Record::Lost(lost)]).collect()
        },
    )
    .await;
    assert_eq!(span(&resources, "load").span_id, OWN_ID);
    assert_eq!(
        (stats.exported, stats.malformed, stats.lost_in_worker),
        (3, 3, 4)
    );
    assert_eq!((stats.lost(), stats.ended()), (7, 10));
}

#[tokio::test]
async fn a_span_holds_no_more_than_its_limits() {
    let (resources, _) = exported(
        3,
        |it| it,
        |request| {
            let mut record = below(request);
            let number = |it: u32| (format!("a{it:03}"), AttributeValue::Int(it.into()));
            record.attributes = (0..200).map(number).collect();
            let long = "ü".repeat(20_000);
            record.name = long.clone();
            record.trace_state = "vendor=a,".repeat(1000);
            record
                .attributes
                .insert("a000".into(), AttributeValue::Text(long));
            vec![Record::Span(record)]
        },
    )
    .await;
    let spans = resources
        .iter()
        .flat_map(|it| &it.scope_spans)
        .flat_map(|it| &it.spans);
    let cut = spans.into_iter().find(|it| it.span_id == OWN_ID).unwrap();
    assert_eq!(cut.name.len(), 256);
    assert_eq!(cut.trace_state, "");
    assert_eq!(
        (cut.attributes.len(), cut.dropped_attributes_count),
        (128, 72)
    );
    assert_eq!(text(&cut.attributes, "a000").unwrap().len(), 16 * 1024);
}

#[tokio::test]
async fn an_unsampled_call_asks_no_worker_for_spans_of_it() {
    let (resources, stats) = exported(
        1,
        |it| it.sampling_rate(0.0),
        |request| {
            assert_eq!(request.trace.unwrap().flags, 0);
            vec![Record::Span(below(request))]
        },
    )
    .await;
    assert!(resources.is_empty());
    assert_eq!(stats.malformed, 1, "it sent one all the same");
}
