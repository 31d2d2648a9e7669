//! The settings of tracing, each declared once: field, default, variable, method of the builder and row of the README.
//! In [`env`] are the variables that count only beside others.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use pyproc_settings::{
    Invalid, Layers, Settings, from_deserializer,
    kind::{flag, longer_than_zero, optional, text},
    settings,
};
use serde::{Deserialize, Deserializer};

use crate::ConfigError;

use self::{
    checks::{is_share, not_blank},
    values::{choice, propagators},
};

mod checks;
mod choices;
mod endpoint;
mod env;
mod headers;
mod sections;
mod values;

pub use choices::{
    Compression, ExporterType, MetricsExporterType, OtlpProtocol, PropagatorType, SamplerType,
};
pub(crate) use endpoint::Endpoint;
pub use headers::Headers;
pub use sections::{BatchConfig, MetricsConfig, OtlpConfig, SpanLimits, TailSampling};

settings! {
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
    #[derive(Clone, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Config with builder_methods! {
        /// The service's name in traces. Default `unknown_service`. Must not be empty.
        #[variable("OTEL_SERVICE_NAME", "PYPROC_TELEMETRY_SERVICE_NAME" as text)]
        #[check(not_blank)]
        #[builder(into String)]
        pub service_name: String = "unknown_service".into(),
        /// Whether spans are made and metrics sent at all. Default `false`: tracing is opt-in. Without it
        /// everything is a no-op that lets the caller's trace context through. `OTEL_SDK_DISABLED=true` in the environment
        /// counts more than this variable.
        #[variable("PYPROC_TELEMETRY_ENABLED" as flag)]
        #[builder(value)]
        pub enabled: bool = false,
        /// Where spans go: `otlp`, `jaeger`, `stdout` (or `console`) or `none`. Default [`otlp`](ExporterType::Otlp). On a
        /// terminal, `stdout` shows a block for each span. Elsewhere it writes a line of JSON with the keys of a log line, so
        /// that a log in JSON on the same stream stays one.
        #[variable("OTEL_TRACES_EXPORTER", "PYPROC_TELEMETRY_EXPORTER_TYPE" as choice)]
        #[builder(value)]
        pub exporter_type: ExporterType = ExporterType::default(),
        /// Who decides whether a trace is sampled: `always_on`, `always_off`, `traceidratio`, or one of these with
        /// `parentbased_` before it. Default `parentbased_traceidratio`: the parent, and for traces that begin here
        /// `sampling_rate`.
        #[variable("OTEL_TRACES_SAMPLER" as choice)]
        #[builder(value)]
        pub sampler: SamplerType = SamplerType::default(),
        /// Share of traces that are sampled, from 0 to 1. Default 1. Has a meaning only for
        /// the samplers with a ratio: beside another one `OTEL_TRACES_SAMPLER_ARG` is ignored, and
        /// `PYPROC_TELEMETRY_SAMPLING_RATE` chooses `parentbased_traceidratio`.
        #[variable("OTEL_TRACES_SAMPLER_ARG", "PYPROC_TELEMETRY_SAMPLING_RATE")]
        #[check(is_share)]
        #[builder(value)]
        pub sampling_rate: f64 = 1.0,
        /// Keeps what the sampler above would drop, but turned out to matter: what failed or was slow. Default: off.
        #[builder(value TailSampling)]
        pub tail_sampling: Option<TailSampling> = None,
        /// How trace context comes in and goes out: `tracecontext`, `baggage`, `jaeger`, `b3` and `b3multi`, each in turn; on the
        /// way in the last that finds one wins. Default: W3C trace context and baggage, and with the Jaeger exporter Jaeger's
        /// header before them. An empty list, or in the variable `none`, is none.
        #[variable("OTEL_PROPAGATORS" as optional(propagators))]
        pub propagators: Option<Vec<PropagatorType>> = None,
        /// The collector, for the exporters `otlp` and `jaeger`.
        #[section(otlp)]
        #[builder(value)]
        pub otlp: OtlpConfig = OtlpConfig::default(),
        /// Metrics that are sent to a collector.
        #[section(metrics)]
        pub metrics: MetricsConfig = MetricsConfig::default(),
        /// Spans waiting to be exported.
        #[section(batch)]
        #[builder(value)]
        pub batch: BatchConfig = BatchConfig::default(),
        /// How much one span may hold.
        #[section(span_limits)]
        pub span_limits: SpanLimits = SpanLimits::default(),
        /// Attributes of the service itself, such as `deployment.environment.name=prod`. Default: none. `service_name` counts
        /// more than a `service.name` here.
        #[variable("OTEL_RESOURCE_ATTRIBUTES")]
        #[builder(entry resource_attribute)]
        pub resource_attributes: BTreeMap<String, String> = BTreeMap::new(),
        /// Fields of every log line that are attributes of the service, too, such as `pod_name` or `version`: under these names and,
        /// where they have one, under that of OpenTelemetry's conventions (`k8s.pod.name`), unless `resource_attributes` has that.
        /// Default: none. The crate [`pyproc_fields`], which `pyproc-logging` uses, too, lists which variable sets which field.
        #[variable("NODE_NAME", "POD_NAMESPACE", "POD_NAME", "PYPROC_LOG_FIELDS")]
        #[builder(entry field)]
        pub fields: BTreeMap<String, String> = BTreeMap::new(),
        /// How long a shutdown may wait for the collector. Default 5 s.
        #[check(longer_than_zero)]
        #[builder(value)]
        #[serde(with = "humantime_serde")]
        pub shutdown_timeout: Duration = Duration::from_secs(5),
    }
}

impl Config {
    /// Reads settings from any serde format and checks them.
    ///
    /// # Errors
    ///
    /// Names the field that is unknown, of the wrong type or out of range.
    pub fn from_deserializer<'de, D: Deserializer<'de>>(source: D) -> Result<Self, ConfigError> {
        let secret = |field: &str| field.contains("otlp.headers").then_some(headers::SHAPE);
        let config: Self = from_deserializer(source, secret)?;
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
    pub fn read_env(self) -> Result<Self, ConfigError> {
        let settings = Layers::from(self).read_env();
        Ok(in_effect(&settings, |name| std::env::var_os(name))?)
    }

    /// Checks that every value makes sense. A provider does so itself before it starts.
    ///
    /// # Errors
    ///
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Ok(self.check()?)
    }

    fn check(&self) -> Result<(), Invalid> {
        self.check_values()?;
        for name in self.fields.keys() {
            Invalid::unless("fields", pyproc_fields::check_name(name))?;
        }
        if let Some(tail) = &self.tail_sampling {
            let checked = tail.check_values();
            checked.map_err(|error| error.in_section("tail_sampling"))?;
        }
        if let Some(otlp) = &self.metrics.otlp {
            let checked = otlp.check_values();
            checked.map_err(|error| error.in_section("metrics.otlp"))?;
        }
        Ok(())
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

/// The settings in effect where `lookup` gives the value of a variable. Blanks around it do not count, except in the variables
/// of the common fields: the log takes those as they are, too.
pub(crate) fn in_effect(
    settings: &Layers<Config>,
    lookup: impl Fn(&str) -> Option<OsString>,
) -> Result<Config, Invalid> {
    let trimmed = |name: &str| {
        let value = lookup(name)?;
        match value.to_str() {
            Some(text) if !pyproc_fields::is_variable(name) => Some(text.trim().into()),
            _ => Some(value),
        }
    };
    settings.in_effect(Config::apply, Config::check, trimmed)
}

#[cfg(test)]
mod tests;
