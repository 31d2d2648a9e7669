//! The sections of the settings.

use std::{path::PathBuf, time::Duration};

use pyproc_settings::{
    Kind,
    kind::{longer_than_zero, number},
    settings,
};
use serde::Deserialize;

use super::{
    Compression, Headers, MetricsExporterType, OtlpProtocol,
    checks::{is_address, is_available, is_base_address},
    endpoint::without_secrets,
    values::{choice, millis},
};

settings! {
    /// Keeps unsampled work that failed or was slow.
    ///
    /// Decided for a **subtree**: all spans of one trace that were started in this process under one local
    /// root, which is a span without a parent or with one from another process. An unsampled span is held back
    /// until its local root ends; then all of the subtree is exported or dropped. Sampled spans are exported as always.
    ///
    /// A local root that was kept says why in its attribute `pyproc.kept_because`, which is `failed` or `slow`.
    ///
    /// What it cannot do: bring back the parts of a trace in other processes. They saw `sampled=0`
    /// in the trace context and most likely recorded nothing.
    #[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct TailSampling {
        /// Keep a subtree in which any span failed. Default `true`.
        pub failed: bool = true,
        /// Keep a subtree whose local root took at least this long. Default: duration does not matter.
        #[serde(with = "humantime_serde")]
        pub slower_than: Option<Duration> = None,
        /// Subtrees held at a time. Default 4,096. Beyond it the oldest is decided before its time.
        #[check(at_least_one)]
        pub max_subtrees: usize = 4096,
        /// Spans held of one subtree, the local root not counted. Default 128. Further ones count as evicted.
        pub max_spans_per_subtree: usize = 128,
        /// Spans held of all subtrees together. Default 16,384, which at half a KiB each are 8 MiB. Further ones count
        /// as evicted.
        pub max_spans: usize = 16_384,
    }
}

settings! {
    /// The collector. `Debug` leaves out what may be secret: values of headers, users and passwords, and queries.
    #[derive(Clone, PartialEq, Eq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct OtlpConfig {
        /// The collector's address, to which `/v1/traces` or `/v1/metrics` is appended for HTTP. Default
        /// `http://localhost:4318`, for gRPC `http://localhost:4317`. `https` needs the feature `tls`. With the exporter
        /// `jaeger`, `OTEL_EXPORTER_JAEGER_ENDPOINT` counts most; an address of its old protocol is mapped to the OTLP one,
        /// with a warning.
        #[variable("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_JAEGER_ENDPOINT")]
        #[check(is_base_address)]
        #[debug(shown)]
        pub endpoint: Option<String> = None,
        /// The full address, used as it is, instead of `endpoint`. Default: none.
        #[variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
        #[check(is_address)]
        #[debug(shown)]
        pub exact_endpoint: Option<String> = None,
        /// HTTP (`http/protobuf`), or with the feature `grpc` gRPC (`grpc`). Default HTTP.
        #[variable("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")]
        #[check(is_available)]
        pub protocol: OtlpProtocol = OtlpProtocol::default(),
        /// Sent with each request, such as an API key: `name=value,name=value`. Default: none. Never shown.
        #[variable("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")]
        #[check(Headers::check)]
        pub headers: Headers = Headers::default(),
        /// How long one batch may take, retries included. Default 10 s. The variables have milliseconds; that of Jaeger counts
        /// with the exporter `jaeger` only.
        #[variable(
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "OTEL_EXPORTER_JAEGER_TIMEOUT"
        )]
        #[check(longer_than_zero)]
        #[serde(with = "humantime_serde")]
        pub timeout: Duration = Duration::from_secs(10),
        /// How requests are compressed: `none` or `gzip`. Default: none.
        #[variable("OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION")]
        pub compression: Compression = Compression::default(),
        /// A file with the certificates, in PEM, to trust instead of the system's. Default: none.
        #[variable("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")]
        pub certificate: Option<PathBuf> = None,
    }
}

settings! {
    /// Metrics that are sent to a collector: what `MetricsExporter` does, which needs the
    /// feature `otlp-metrics`. `/metrics` works without.
    #[derive(Clone, PartialEq, Eq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct MetricsConfig {
        /// Where they go: `otlp`, or `none` (or `prometheus`) for `/metrics` only. Default OTLP.
        #[variable("OTEL_METRICS_EXPORTER" as choice)]
        pub exporter_type: MetricsExporterType = MetricsExporterType::default(),
        /// The collector. Default: that of traces, save for its `exact_endpoint`. The variables are those of `otlp` with
        /// `METRICS` in place of `TRACES`, such as `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`. Of
        /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` only `cumulative` is known.
        pub otlp: Option<OtlpConfig> = None,
        /// From one report to the next. Default 60 s. The variable has milliseconds.
        #[variable("OTEL_METRIC_EXPORT_INTERVAL" as millis)]
        #[check(longer_than_zero)]
        #[serde(with = "humantime_serde")]
        pub interval: Duration = Duration::from_secs(60),
        /// How long one report may take, if the collector's `timeout` is not shorter. Default 30 s. The variable has
        /// milliseconds.
        #[variable("OTEL_METRIC_EXPORT_TIMEOUT" as millis)]
        #[check(longer_than_zero)]
        #[serde(with = "humantime_serde")]
        pub timeout: Duration = Duration::from_secs(30),
    }
}

settings! {
    /// Spans waiting to be exported.
    #[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct BatchConfig {
        /// Spans that may wait, those on their way included. Default 2,048, at least 1. Further ones are dropped and counted.
        #[variable("OTEL_BSP_MAX_QUEUE_SIZE" as number(1..))]
        pub max_queue_size: usize = 2048,
        /// Spans sent at a time. Default 512, at least 1; never more than the queue holds.
        #[variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE" as number(1..))]
        pub max_export_batch_size: usize = 512,
        /// The longest that a span waits for others. Default 5 s. The variable has milliseconds.
        #[variable("OTEL_BSP_SCHEDULE_DELAY" as millis)]
        #[serde(with = "humantime_serde")]
        pub schedule_delay: Duration = Duration::from_secs(5),
        /// How long one batch may take, if `otlp.timeout` is not shorter. Default 30 s. The variable has milliseconds.
        #[variable("OTEL_BSP_EXPORT_TIMEOUT" as millis)]
        #[check(longer_than_zero)]
        #[serde(with = "humantime_serde")]
        pub export_timeout: Duration = Duration::from_secs(30),
    }
}

settings! {
    /// How much one span may hold. What is over is dropped, and counted in the span.
    #[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct SpanLimits {
        /// Attributes of a span, an event or a link. Default 128.
        #[variable("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" as number(0..=u32::MAX))]
        pub attributes: u32 = 128,
        /// Events. Default 128.
        #[variable("OTEL_SPAN_EVENT_COUNT_LIMIT" as number(0..=u32::MAX))]
        pub events: u32 = 128,
        /// Links. Default 128.
        #[variable("OTEL_SPAN_LINK_COUNT_LIMIT" as number(0..=u32::MAX))]
        pub links: u32 = 128,
    }
}

impl OtlpConfig {
    /// The same collector for another kind of telemetry.
    pub(super) fn without_exact_endpoint(&self) -> Self {
        Self {
            exact_endpoint: None,
            ..self.clone()
        }
    }
}

fn at_least_one(value: &usize) -> Result<(), String> {
    Kind::check(&number(1..), value)
}

/// An address as it may be shown.
fn shown(address: &Option<String>) -> Option<String> {
    address.as_deref().map(without_secrets)
}
