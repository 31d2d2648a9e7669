//! Metrics that arrive at a collector.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use opentelemetry::trace::{SpanContext, TraceFlags, TraceState};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    },
    common::v1::{KeyValue, any_value},
    metrics::v1::{AggregationTemporality, Metric, metric::Data, number_data_point::Value},
};
use prost::Message;
use pyproc_telemetry::{
    Compression, Config, Exemplars, MetricsConfig, MetricsExporter, MetricsExporterType,
    OtlpConfig,
    prometheus::{
        CounterVec, Gauge, Histogram, HistogramOpts, IntCounter, Opts, Registry,
        core::Collector as Metrics,
    },
};
use support::{Collector, LONG, Reply, eventually, nobody};

fn config(endpoint: impl Into<String>) -> Config {
    Config {
        service_name: "shop".into(),
        enabled: true,
        otlp: OtlpConfig {
            endpoint: Some(endpoint.into()),
            timeout: LONG,
            ..OtlpConfig::default()
        },
        metrics: MetricsConfig {
            interval: LONG,
            timeout: LONG,
            ..MetricsConfig::default()
        },
        shutdown_timeout: LONG,
        ..Config::default()
    }
}

fn start(registry: &Registry, config: &Config) -> MetricsExporter {
    MetricsExporter::start(registry, &Exemplars::default(), config).unwrap()
}

fn registered<M: Metrics + Clone + 'static>(registry: &Registry, metric: M) -> M {
    registry.register(Box::new(metric.clone())).unwrap();
    metric
}

fn reports(server: &Collector) -> Vec<ExportMetricsServiceRequest> {
    let bodies = server.taken().into_iter().map(|it| it.body);
    bodies
        .map(|it| ExportMetricsServiceRequest::decode(&*it).unwrap())
        .collect()
}

/// The metrics of a report by name.
fn metrics(report: &ExportMetricsServiceRequest) -> BTreeMap<String, Metric> {
    let scopes = report.resource_metrics[0].scope_metrics.iter();
    let metrics = scopes.flat_map(|it| it.metrics.clone());
    metrics.map(|it| (it.name.clone(), it)).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|it| it.key == key).unwrap();
    match found.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn counters_gauges_and_histograms_arrive_as_they_are() {
    let (server, registry) = (Collector::start(), Registry::new());
    let jobs = CounterVec::new(Opts::new("jobs_total", "Jobs done."), &["kind"]).unwrap();
    registered(&registry, jobs)
        .with_label_values(&["a"])
        .inc_by(2.5);
    let depth = Gauge::new("depth_bytes", "Depth.").unwrap();
    registered(&registry, depth).set(-3.0);
    let took = HistogramOpts::new("took_seconds", "Took.").buckets(vec![1.0, 2.0]);
    let took = registered(&registry, Histogram::with_opts(took).unwrap());
    for value in [0.5, 1.5, 1.5, 7.0] {
        took.observe(value);
    }
    let exemplars = Exemplars::default();
    let slot = exemplars.histogram("took_seconds", &[], &[1.0, 2.0]);
    let span = SpanContext::new(
        0xabc.into(),
        0xdef.into(),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    );
    slot.note(7.0, &span);

    let export = MetricsExporter::start(&registry, &exemplars, &config(server.endpoint()));
    let stats = export.unwrap().shutdown_blocking().unwrap();
    assert_eq!((stats.exported, stats.failed, stats.refused), (1, 0, 0));

    let requests = server.taken();
    assert_eq!(requests[0].path, "/v1/metrics");
    assert_eq!(
        requests[0].headers["content-type"],
        "application/x-protobuf"
    );
    let report = reports(&server).remove(0);
    let resource = report.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "shop");
    let metrics = metrics(&report);
    let Some(Data::Sum(jobs)) = &metrics["jobs_total"].data else {
        panic!("no sum");
    };
    assert_eq!(metrics["jobs_total"].description, "Jobs done.");
    assert!(jobs.is_monotonic);
    let cumulative = AggregationTemporality::Cumulative as i32;
    assert_eq!(jobs.aggregation_temporality, cumulative);
    let point = &jobs.data_points[0];
    assert_eq!(point.value, Some(Value::AsDouble(2.5)));
    assert_eq!(text(&point.attributes, "kind"), "a");
    assert!(0 < point.start_time_unix_nano);
    assert!(point.start_time_unix_nano <= point.time_unix_nano);

    let Some(Data::Gauge(depth)) = &metrics["depth_bytes"].data else {
        panic!("no gauge");
    };
    assert_eq!(depth.data_points[0].value, Some(Value::AsDouble(-3.0)));
    assert_eq!(metrics["depth_bytes"].unit, "By");

    let Some(Data::Histogram(took)) = &metrics["took_seconds"].data else {
        panic!("no histogram");
    };
    assert_eq!(metrics["took_seconds"].unit, "s");
    assert_eq!(took.aggregation_temporality, cumulative);
    let point = &took.data_points[0];
    assert_eq!(point.explicit_bounds, [1.0, 2.0]);
    assert_eq!(point.bucket_counts, [1, 2, 1]);
    assert_eq!((point.count, point.sum), (4, Some(10.5)));
    assert_eq!(point.exemplars[0].span_id, 0xdef_u64.to_be_bytes());
}

#[test]
fn reports_go_out_at_each_interval_and_at_a_flush() {
    let (server, registry) = (Collector::start(), Registry::new());
    registered(&registry, IntCounter::new("jobs_total", "Jobs.").unwrap());
    let mut config = config(server.endpoint());
    config.metrics.interval = Duration::from_millis(1);
    let export = start(&registry, &config);
    eventually(|| server.taken().len() >= 3);
    drop(export);

    config.metrics.interval = LONG;
    let export = start(&registry, &config);
    let before = server.taken().len();
    export.flush_blocking(LONG).unwrap();
    assert_eq!(server.taken().len(), before + 1);
    assert_eq!(export.stats().exported, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn waiting_for_reports_works_on_a_runtime_with_one_thread() {
    let (server, registry) = (Collector::start(), Registry::new());
    registered(&registry, IntCounter::new("jobs_total", "Jobs.").unwrap());
    let export = start(&registry, &config(server.endpoint()));
    export.flush(LONG).await.unwrap();
    let stats = export.shutdown().await.unwrap();
    assert_eq!(stats.exported, 2);
}

#[test]
fn a_total_that_falls_begins_anew_and_others_do_not() {
    let (server, registry) = (Collector::start(), Registry::new());
    let jobs = CounterVec::new(Opts::new("jobs_total", "Jobs."), &["kind"]).unwrap();
    let jobs = registered(&registry, jobs);
    jobs.with_label_values(&["a"]).inc_by(5.0);
    jobs.with_label_values(&["b"]).inc_by(5.0);
    let export = start(&registry, &config(server.endpoint()));
    export.flush_blocking(LONG).unwrap();
    jobs.remove_label_values(&["a"]).unwrap();
    jobs.with_label_values(&["a"]).inc();
    jobs.with_label_values(&["b"]).inc();
    export.flush_blocking(LONG).unwrap();
    let points: Vec<_> = reports(&server)
        .iter()
        .flat_map(|report| match &metrics(report)["jobs_total"].data {
            Some(Data::Sum(sum)) => sum.data_points.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let [a, b, a_again, b_again] = points.as_slice() else {
        panic!("{points:?}");
    };
    assert_eq!(a_again.start_time_unix_nano, a.time_unix_nano);
    assert_eq!(b_again.start_time_unix_nano, b.start_time_unix_nano);
}

#[test]
fn a_total_that_was_gone_begins_after_the_report_without_it() {
    let (server, registry) = (Collector::start(), Registry::new());
    let jobs = CounterVec::new(Opts::new("jobs_total", "Jobs."), &["kind"]).unwrap();
    let jobs = registered(&registry, jobs);
    let always = registered(&registry, IntCounter::new("always_total", "It.").unwrap());
    let export = start(&registry, &config(server.endpoint()));
    jobs.with_label_values(&["a"]).inc_by(5.0);
    export.flush_blocking(LONG).unwrap();
    jobs.remove_label_values(&["a"]).unwrap();
    always.inc();
    export.flush_blocking(LONG).unwrap();
    jobs.with_label_values(&["a"]).inc();
    export.flush_blocking(LONG).unwrap();
    let reports = reports(&server);
    let point = |report: usize, name: &str| match &metrics(&reports[report])[name].data {
        Some(Data::Sum(sum)) => sum.data_points[0].clone(),
        other => panic!("{other:?}"),
    };
    let without = point(1, "always_total");
    let again = point(2, "jobs_total");
    assert_eq!(again.start_time_unix_nano, without.time_unix_nano);
    let (first, last) = (point(0, "always_total"), point(2, "always_total"));
    assert_eq!(last.start_time_unix_nano, first.start_time_unix_nano);
}

#[test]
fn a_collector_that_is_not_there_costs_reports_and_no_more_time_than_the_limit() {
    let registry = Registry::new();
    registered(&registry, IntCounter::new("jobs_total", "Jobs.").unwrap());
    let mut config = config(nobody());
    config.otlp.timeout = Duration::from_millis(50);
    let export = start(&registry, &config);
    assert!(!export.flush_blocking(LONG).unwrap_err().refused);
    assert_eq!(export.stats().failed, 1);
    let error = export.shutdown_blocking().unwrap_err();
    assert!(error.reason.contains("127.0.0.1"), "{error}");

    // One that takes the request and never answers.
    let server = Collector::replying(|_| Reply::Hang);
    config.otlp.endpoint = Some(server.endpoint());
    config.otlp.timeout = LONG;
    config.shutdown_timeout = Duration::from_millis(50);
    assert!(start(&registry, &config).shutdown_blocking().is_err());
}

#[test]
fn what_the_collector_refuses_is_counted() {
    let refused = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: "too old".into(),
        }),
    };
    let refused = refused.encode_to_vec();
    let server = Collector::replying(move |number| match number {
        0 => Reply::Answer(refused.clone()),
        1 => Reply::Status(400, ""),
        2 => Reply::Status(503, ""),
        _ => Reply::Take,
    });
    let registry = Registry::new();
    registered(&registry, IntCounter::new("jobs_total", "Jobs.").unwrap());
    let export = start(&registry, &config(server.endpoint()));
    export.flush_blocking(LONG).unwrap();
    assert!(export.flush_blocking(LONG).unwrap_err().refused);
    // Tried again, as the protocol wants.
    export.flush_blocking(LONG).unwrap();
    let stats = export.stats();
    assert_eq!(
        (stats.exported, stats.refused, stats.points_refused),
        (2, 1, 3)
    );
    assert_eq!(server.requests(), 4);
}

#[test]
fn a_collector_may_say_that_it_refused_any_number() {
    let refused = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: i64::MAX,
            error_message: String::new(),
        }),
    };
    let refused = refused.encode_to_vec();
    let server = Collector::replying(move |_| Reply::Answer(refused.clone()));
    let registry = Registry::new();
    registered(&registry, IntCounter::new("jobs_total", "Jobs.").unwrap());
    let export = start(&registry, &config(server.endpoint()));
    for _ in 0..3 {
        export.flush_blocking(LONG).unwrap();
    }
    assert_eq!(export.stats().points_refused, u64::MAX);
}

#[test]
fn a_compressed_report_arrives_with_its_headers() {
    let (server, registry) = (Collector::start(), Registry::new());
    registered(&registry, IntCounter::new("jobs_total", "Jobs.").unwrap());
    let mut config = config("http://not-this-one.invalid:1");
    let mut metrics = OtlpConfig {
        exact_endpoint: Some(format!("{}/ingest", server.endpoint())),
        compression: Compression::Gzip,
        ..OtlpConfig::default()
    };
    metrics.headers.insert("x-api-key", "secret");
    config.metrics.otlp = Some(metrics);
    start(&registry, &config).shutdown_blocking().unwrap();
    let request = server.taken().remove(0);
    assert_eq!(request.path, "/ingest");
    assert_eq!(request.headers["x-api-key"], "secret");
    assert_eq!(request.headers["content-encoding"], "gzip");
    assert!(metrics_of(&request.body).contains_key("jobs_total"));
}

fn metrics_of(body: &[u8]) -> BTreeMap<String, Metric> {
    metrics(&ExportMetricsServiceRequest::decode(body).unwrap())
}

#[test]
fn nothing_is_sent_unless_it_is_enabled() {
    let server = Collector::start();
    let enabled = config(server.endpoint());
    let mut none = enabled.clone();
    none.metrics.exporter_type = MetricsExporterType::None;
    let disabled = Config {
        enabled: false,
        ..enabled
    };
    for config in [none, disabled] {
        let stats = start(&Registry::new(), &config)
            .shutdown_blocking()
            .unwrap();
        assert_eq!(stats.exported, 0);
    }
    assert!(server.taken().is_empty());
}

#[cfg(feature = "grpc")]
#[test]
fn metrics_arrive_over_grpc() {
    use pyproc_telemetry::OtlpProtocol;

    let (collector, address) = grpc::Collector::start();
    let registry = Registry::new();
    registered(&registry, IntCounter::new("jobs_total", "Jobs.").unwrap()).inc();
    let mut config = config(format!("http://{address}"));
    config.otlp.protocol = OtlpProtocol::Grpc;
    let export = start(&registry, &config);
    export.flush_blocking(LONG).unwrap();
    assert_eq!(export.shutdown_blocking().unwrap().exported, 2);
    let taken = collector.taken();
    assert!(metrics(&taken[0]).contains_key("jobs_total"));
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::{
        net::SocketAddr,
        sync::{Arc, Mutex, mpsc},
        thread,
    };

    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    };
    use tonic::{
        Request, Response, Status,
        transport::{Server, server::TcpIncoming},
    };

    #[derive(Clone, Default)]
    pub(super) struct Collector(Arc<Mutex<Vec<ExportMetricsServiceRequest>>>);

    #[tonic::async_trait]
    impl MetricsService for Collector {
        async fn export(
            &self,
            request: Request<ExportMetricsServiceRequest>,
        ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
            self.0.lock().unwrap().push(request.into_inner());
            Ok(Response::new(ExportMetricsServiceResponse::default()))
        }
    }

    impl Collector {
        pub(super) fn start() -> (Self, SocketAddr) {
            let collector = Self::default();
            let service = MetricsServiceServer::new(collector.clone());
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
                    sender.send(incoming.local_addr().unwrap()).unwrap();
                    let server = Server::builder().add_service(service);
                    server.serve_with_incoming(incoming).await.unwrap();
                });
            });
            (collector, receiver.recv().unwrap())
        }

        pub(super) fn taken(&self) -> Vec<ExportMetricsServiceRequest> {
            self.0.lock().unwrap().clone()
        }
    }
}
