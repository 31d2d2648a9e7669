#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod blocking;
mod builder;
mod config;
mod error;
mod export;
#[cfg(feature = "http")]
pub mod http;
mod metrics;
mod observer;
mod propagation;
mod provider;
mod sampling;
mod stats;
mod text;

pub use builder::ProviderBuilder;
pub use config::{
    BatchConfig, Compression, Config, ExporterType, Headers, MetricsConfig, MetricsExporterType,
    OtlpConfig, OtlpProtocol, PropagatorType, SamplerType, SpanLimits, TailSampling,
};
pub use error::{ConfigError, ExportError, FlushError, StartError};
pub use export::memory::MemorySpans;
pub use metrics::{
    ExemplarSlot, Exemplars, MetricsFormat, PoolMetrics, PoolMetricsBuilder, PoolWatch,
    register_pipeline, render_metrics,
};
#[cfg(feature = "otlp-metrics")]
pub use metrics::{MetricsExportStats, MetricsExporter};
pub use observer::{PoolBuilderExt, Telemetry};
pub use opentelemetry;
pub use prometheus;
pub use propagation::Propagator;
#[cfg(feature = "http")]
pub use propagation::{HeaderExtractor, HeaderInjector};
pub use provider::{Provider, Span, Tracer};
pub use stats::ExportStats;
