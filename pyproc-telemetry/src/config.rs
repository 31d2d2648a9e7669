use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::ConfigError;

use self::checks::{available_protocol, longer_than_zero, positive, rate, service_name};

mod checks;
mod choices;
mod endpoint;
mod env;
mod headers;
mod sections;

pub use choices::{
    Compression, ExporterType, MetricsExporterType, OtlpProtocol, PropagatorType, SamplerType,
};
pub(crate) use endpoint::Endpoint;
pub use headers::Headers;
pub use sections::{BatchConfig, MetricsConfig, OtlpConfig, SpanLimits, TailSampling};

/// All settings of tracing, with their defaults.
///
/// Reads from any serde format; durations are texts such as `"10s"`, and a field that does not
/// exist is refused. The environment is read only when asked to:
///
/// | from lowest to highest | |
/// | --- | --- |
/// | [`default`](Self::default) | |
/// | a file, or this struct | [`from_deserializer`](Self::from_deserializer), [`ProviderBuilder::from`](crate::ProviderBuilder) |
/// | `OTEL_*` | [`ProviderBuilder::read_env`](crate::ProviderBuilder::read_env), [`read_env`](Self::read_env), [`from_env`](Self::from_env); a variable for traces alone beats the general one |
/// | `PYPROC_TELEMETRY_*` | read in the same step |
/// | `OTEL_SDK_DISABLED=true` | beats `PYPROC_TELEMETRY_ENABLED` |
/// | code | the other methods of [`ProviderBuilder`](crate::ProviderBuilder), before or after `read_env` |
///
/// ```
/// # use pyproc_telemetry::{Config, ExporterType};
/// let mut json = serde_json::Deserializer::from_str(
///     r#"{"service_name": "shop", "enabled": true, "otlp": {"timeout": "3s"}}"#,
/// );
/// let config = Config::from_deserializer(&mut json)?;
/// assert_eq!(config.exporter_type, ExporterType::Otlp);
/// # Ok::<(), pyproc_telemetry::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The service's name in traces. Default `unknown_service`. Must not be empty.
    pub service_name: String,
    /// Whether spans are made and metrics sent at all. Default `false`: tracing is opt-in. Without it
    /// everything is a no-op that lets the caller's trace context through.
    pub enabled: bool,
    /// Where spans go. Default OTLP.
    pub exporter_type: ExporterType,
    /// Who decides whether a trace is sampled. Default: the parent, and for traces that begin here
    /// `sampling_rate`.
    pub sampler: SamplerType,
    /// Share of traces that are sampled, from 0 to 1. Default 1. Has a meaning only for
    /// the samplers with a ratio.
    pub sampling_rate: f64,
    /// Keeps what the sampler above would drop, but turned out to matter. Default: off.
    pub tail_sampling: Option<TailSampling>,
    /// How trace context comes in and goes out, each in turn; on the way in the last that finds one wins. Default:
    /// W3C trace context and baggage, and with the Jaeger exporter Jaeger's header before them. An empty list is none.
    pub propagators: Option<Vec<PropagatorType>>,
    /// The collector, for the exporters `otlp` and `jaeger`.
    pub otlp: OtlpConfig,
    /// Metrics that are sent to a collector.
    pub metrics: MetricsConfig,
    /// Spans waiting to be exported.
    pub batch: BatchConfig,
    /// How much one span may hold.
    pub span_limits: SpanLimits,
    /// Attributes of the service itself, such as `deployment.environment.name`. Default: none. A
    /// `service.name` here is overridden by `service_name`.
    pub resource_attributes: BTreeMap<String, String>,
    /// Fields of every log line that are attributes of the service, too, such as `pod_name` or `version`: under these names and, where they have
    /// one, under that of OpenTelemetry's conventions, unless `resource_attributes` has that. Default: none. Which variables set them is
    /// listed in the crate [`pyproc_fields`].
    pub fields: BTreeMap<String, String>,
    /// How long a shutdown may wait for the collector. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service_name: "unknown_service".into(),
            enabled: false,
            exporter_type: ExporterType::default(),
            sampler: SamplerType::default(),
            sampling_rate: 1.0,
            tail_sampling: None,
            propagators: None,
            otlp: OtlpConfig::default(),
            metrics: MetricsConfig::default(),
            batch: BatchConfig::default(),
            span_limits: SpanLimits::default(),
            resource_attributes: BTreeMap::new(),
            fields: BTreeMap::new(),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// Reads settings from any serde format and checks them.
    ///
    /// # Errors
    ///
    /// Names the field that is unknown, of the wrong type or out of range.
    pub fn from_deserializer<'de, D: Deserializer<'de>>(source: D) -> Result<Self, ConfigError> {
        let config: Self = serde_path_to_error::deserialize(source).map_err(|error| {
            let field = error.path().to_string();
            let reason = match field.contains("otlp.headers") {
                true => headers::SHAPE.to_owned(),
                false => error.inner().to_string(),
            };
            ConfigError::new(field, reason)
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The defaults, overridden by the environment. Which variables are read is listed in the crate's
    /// documentation; an empty one counts as not set.
    ///
    /// # Errors
    ///
    /// Names the variable whose value makes no sense.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::default().read_env()
    }

    /// These settings, such as a file's, with what the environment says over them. What code sets over both,
    /// [`ProviderBuilder`](crate::ProviderBuilder) knows.
    ///
    /// # Errors
    ///
    /// Names the variable whose value makes no sense, or else the field.
    pub fn read_env(mut self) -> Result<Self, ConfigError> {
        self.apply(|name| std::env::var_os(name), |_| {})?;
        self.validate()?;
        Ok(self)
    }

    /// Checks that every value makes sense. A provider does so itself before it starts.
    ///
    /// # Errors
    ///
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        fn check<T>(field: &str, result: Result<T, String>) -> Result<(), ConfigError> {
            result
                .map(drop)
                .map_err(|reason| ConfigError::new(field, reason))
        }
        check("service_name", service_name(&self.service_name))?;
        check("sampling_rate", rate(self.sampling_rate))?;
        for name in self.fields.keys() {
            check("fields", pyproc_fields::check_name(name))?;
        }
        if let Some(tail) = &self.tail_sampling {
            check("tail_sampling.max_subtrees", positive(tail.max_subtrees))?;
        }
        let metrics = self.metrics.otlp.as_ref();
        let metrics = metrics.map(|otlp| ("metrics.otlp", otlp));
        for (section, otlp) in [("otlp", &self.otlp)].into_iter().chain(metrics) {
            let field = |name| format!("{section}.{name}");
            if let Some(address) = &otlp.endpoint {
                check(&field("endpoint"), Endpoint::parse_base(address))?;
            }
            if let Some(address) = &otlp.exact_endpoint {
                check(&field("exact_endpoint"), Endpoint::parse(address))?;
            }
            check(&field("protocol"), available_protocol(otlp.protocol))?;
            check(&field("headers"), otlp.headers.check())?;
            check(&field("timeout"), longer_than_zero(otlp.timeout))?;
        }
        check("metrics.interval", longer_than_zero(self.metrics.interval))?;
        check("metrics.timeout", longer_than_zero(self.metrics.timeout))?;
        check("batch.max_queue_size", positive(self.batch.max_queue_size))?;
        check(
            "batch.max_export_batch_size",
            positive(self.batch.max_export_batch_size),
        )?;
        check(
            "batch.export_timeout",
            longer_than_zero(self.batch.export_timeout),
        )?;
        check("shutdown_timeout", longer_than_zero(self.shutdown_timeout))
    }

    /// The collector of metrics.
    #[cfg(any(test, feature = "otlp-metrics"))]
    pub(crate) fn metrics_otlp(&self) -> OtlpConfig {
        let own = self.metrics.otlp.clone();
        own.unwrap_or_else(|| {
            let mut otlp = self.otlp.without_exact_endpoint();
            if self.exporter_type == ExporterType::Jaeger {
                // What took Jaeger's old protocol never took metrics.
                otlp.endpoint
                    .take_if(|address| Endpoint::is_old_jaeger(address));
            }
            otlp
        })
    }

    /// The propagators in effect.
    pub(crate) fn effective_propagators(&self) -> Vec<PropagatorType> {
        use PropagatorType::{Baggage, Jaeger, TraceContext};
        match (&self.propagators, self.exporter_type) {
            (Some(chosen), _) => chosen.clone(),
            (None, ExporterType::Jaeger) => vec![Jaeger, TraceContext, Baggage],
            (None, _) => vec![TraceContext, Baggage],
        }
    }
}

#[cfg(test)]
mod tests;
