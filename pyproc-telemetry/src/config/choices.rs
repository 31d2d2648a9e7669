use serde::Deserialize;

/// Where spans go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExporterType {
    /// For development: one readable block of text for each span on stdout, or a line of JSON if that is no terminal. Also called
    /// `console`.
    #[serde(alias = "console")]
    Stdout,
    /// The OpenTelemetry protocol, to a collector or any backend that speaks it.
    #[default]
    Otlp,
    /// Jaeger, which takes OTLP since its version 1.35, with Jaeger's propagator on.
    Jaeger,
    /// Nowhere. Spans are made, and their context is propagated.
    None,
}

/// Where metrics go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetricsExporterType {
    /// The OpenTelemetry protocol, to a collector or any backend that speaks it.
    #[default]
    Otlp,
    /// Nowhere: they are only there for `/metrics`, which is what `prometheus` means, too.
    #[serde(alias = "prometheus")]
    None,
}

/// Who decides whether a trace is sampled. The names are those of `OTEL_TRACES_SAMPLER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub enum SamplerType {
    /// Every span.
    #[serde(rename = "always_on")]
    AlwaysOn,
    /// None.
    #[serde(rename = "always_off")]
    AlwaysOff,
    /// `sampling_rate`, whatever the parent decided: traces come apart if it differs.
    #[serde(rename = "traceidratio")]
    Ratio,
    /// As the parent; traces that begin here are sampled.
    #[serde(rename = "parentbased_always_on")]
    ParentBasedAlwaysOn,
    /// As the parent; traces that begin here are not sampled.
    #[serde(rename = "parentbased_always_off")]
    ParentBasedAlwaysOff,
    /// As the parent; of traces that begin here the share `sampling_rate`.
    #[default]
    #[serde(rename = "parentbased_traceidratio")]
    ParentBasedRatio,
}

/// A format of trace context in headers. The names are those of `OTEL_PROPAGATORS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PropagatorType {
    /// W3C `traceparent` and `tracestate`.
    TraceContext,
    /// W3C `baggage`.
    Baggage,
    /// Jaeger's `uber-trace-id` and `uberctx-*`.
    Jaeger,
    /// The single header `b3`. Reads the multiple headers too.
    B3,
    /// The headers `x-b3-*`. Reads the single header too.
    B3Multi,
}

/// How OTLP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub enum OtlpProtocol {
    /// HTTP 1.1 with Protocol Buffers.
    #[default]
    #[serde(rename = "http/protobuf", alias = "http")]
    HttpProtobuf,
    /// gRPC; needs the feature `grpc`.
    #[serde(rename = "grpc")]
    Grpc,
}

/// How requests to the collector are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip.
    Gzip,
}
