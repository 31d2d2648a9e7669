use std::{fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Compression, Headers, MetricsExporterType, OtlpProtocol, endpoint::without_secrets};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TailSampling {
    /// Keep a subtree in which any span failed. Default `true`.
    pub failed: bool,
    /// Keep a subtree whose local root took at least this long. Default: duration does not matter.
    #[serde(with = "humantime_serde")]
    pub slower_than: Option<Duration>,
    /// Subtrees held at a time. Default 4,096. Beyond it the oldest is decided before its time.
    pub max_subtrees: usize,
    /// Spans held of one subtree, the local root not counted. Default 128. Further ones count as evicted.
    pub max_spans_per_subtree: usize,
    /// Spans held of all subtrees together. Default 16,384, which at half a KiB each are 8 MiB. Further ones count
    /// as evicted.
    pub max_spans: usize,
}

/// The collector. `Debug` leaves out what may be secret: values of headers, users and passwords, and queries.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// The collector's address, to which `/v1/traces` or `/v1/metrics` is appended for HTTP. Default `http://localhost:4318`, for gRPC
    /// `http://localhost:4317`.
    /// `https` needs the feature `tls`.
    pub endpoint: Option<String>,
    /// The full address, used as it is, instead of `endpoint`. Default: none.
    pub exact_endpoint: Option<String>,
    /// HTTP, or with the feature `grpc` gRPC. Default HTTP.
    pub protocol: OtlpProtocol,
    /// Sent with each request, such as an API key. Default: none. Never shown.
    pub headers: Headers,
    /// How long one batch may take, retries included. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Default: none.
    pub compression: Compression,
    /// A file with the certificates, in PEM, to trust instead of the system's. Default: none.
    pub certificate: Option<PathBuf>,
}

/// Metrics that are sent to a collector: what [`MetricsExporter`](crate::MetricsExporter) does, which needs the
/// feature `otlp-metrics`. `/metrics` works without.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Where they go. Default OTLP.
    pub exporter_type: MetricsExporterType,
    /// The collector. Default: that of traces, save for its `exact_endpoint`.
    pub otlp: Option<OtlpConfig>,
    /// From one report to the next. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How long one report may take, if the collector's `timeout` is not shorter. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

/// Spans waiting to be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Spans that may wait, those on their way included. Default 2,048, at least 1. Further ones are dropped and counted.
    pub max_queue_size: usize,
    /// Spans sent at a time. Default 512, at least 1; never more than the queue holds.
    pub max_export_batch_size: usize,
    /// The longest that a span waits for others. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub schedule_delay: Duration,
    /// How long one batch may take, if `otlp.timeout` is not shorter. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub export_timeout: Duration,
}

/// How much one span may hold. What is over is dropped, and counted in the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpanLimits {
    /// Attributes of a span, an event or a link. Default 128.
    pub attributes: u32,
    /// Events. Default 128.
    pub events: u32,
    /// Links. Default 128.
    pub links: u32,
}

impl Default for TailSampling {
    fn default() -> Self {
        Self {
            failed: true,
            slower_than: None,
            max_subtrees: 4096,
            max_spans_per_subtree: 128,
            max_spans: 16_384,
        }
    }
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            exact_endpoint: None,
            protocol: OtlpProtocol::default(),
            headers: Headers::default(),
            timeout: Duration::from_secs(10),
            compression: Compression::default(),
            certificate: None,
        }
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

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            exporter_type: MetricsExporterType::default(),
            otlp: None,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |address: &Option<String>| address.as_deref().map(without_secrets);
        f.debug_struct("OtlpConfig")
            .field("endpoint", &shown(&self.endpoint))
            .field("exact_endpoint", &shown(&self.exact_endpoint))
            .field("protocol", &self.protocol)
            .field("headers", &self.headers)
            .field("timeout", &self.timeout)
            .field("compression", &self.compression)
            .field("certificate", &self.certificate)
            .finish()
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            max_queue_size: 2048,
            max_export_batch_size: 512,
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self {
            attributes: 128,
            events: 128,
            links: 128,
        }
    }
}
