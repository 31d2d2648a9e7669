//! Settings from `PYPROC_TELEMETRY_*` and `OTEL_*` variables.

use std::{ffi::OsString, time::Duration};

use percent_encoding::percent_decode_str;
use serde::de::{DeserializeOwned, value::StrDeserializer};

use super::{
    Config, Endpoint, ExporterType, Headers, OtlpConfig, PropagatorType, SamplerType,
    checks::{available_protocol, longer_than_zero, positive, rate, service_name},
    headers,
};
use crate::ConfigError;

/// How the variables begin that mean the collector of both traces and metrics.
const GENERAL: &str = "OTEL_EXPORTER_OTLP";
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

impl Config {
    /// Overrides each field whose variable `lookup` finds, of which what comes later wins, and then what `code` sets.
    pub(crate) fn apply(
        &mut self,
        lookup: impl Fn(&str) -> Option<OsString>,
        code: impl Fn(&mut Self),
    ) -> Result<(), ConfigError> {
        let env = Env(lookup);
        // Some variables count only beside certain values of other settings, which may be set in code.
        let in_effect = |config: &Self| {
            let mut config = config.clone();
            code(&mut config);
            config
        };
        self.apply_identity(&env)?;
        self.apply_exporter(&env)?;
        self.apply_sampling(&env, |config| in_effect(config).sampler)?;
        env.set_some("OTEL_PROPAGATORS", &mut self.propagators, propagators)?;
        self.apply_limits(&env)?;
        self.apply_metrics(&env)?;
        self.apply_general_collector(&env)?;
        let general = in_effect(self).otlp;
        self.otlp.apply(&env, "OTEL_EXPORTER_OTLP_TRACES")?;
        if in_effect(self).exporter_type == ExporterType::Jaeger {
            self.apply_jaeger(&env)?;
        }
        code(self);
        self.apply_metrics_collector(&env, general)
    }

    fn apply_identity(&mut self, env: &impl Source) -> Result<(), ConfigError> {
        let attributes = env.text("OTEL_RESOURCE_ATTRIBUTES", pairs)?;
        for (name, value) in attributes.into_iter().flatten() {
            match name.as_str() {
                "service.name" => self.service_name = value,
                _ => drop(self.resource_attributes.insert(name, value)),
            }
        }
        let fields = pyproc_fields::from_env(|name| env.get(name))
            .map_err(|error| ConfigError::new(error.variable, error.reason))?;
        self.fields.extend(fields);
        for variable in ["OTEL_SERVICE_NAME", "PYPROC_TELEMETRY_SERVICE_NAME"] {
            env.set(variable, &mut self.service_name, |text| {
                service_name(text).map(|()| text.to_owned())
            })?;
        }
        env.set("PYPROC_TELEMETRY_ENABLED", &mut self.enabled, flag)?;
        let mut disabled = false;
        env.set("OTEL_SDK_DISABLED", &mut disabled, flag)?;
        self.enabled &= !disabled;
        Ok(())
    }

    fn apply_exporter(&mut self, env: &impl Source) -> Result<(), ConfigError> {
        for variable in ["OTEL_TRACES_EXPORTER", "PYPROC_TELEMETRY_EXPORTER_TYPE"] {
            env.set(variable, &mut self.exporter_type, choice)?;
        }
        Ok(())
    }

    /// The general variables mean both collectors, that of traces and that of metrics.
    fn apply_general_collector(&mut self, env: &impl Source) -> Result<(), ConfigError> {
        for otlp in [Some(&mut self.otlp), self.metrics.otlp.as_mut()] {
            let Some(otlp) = otlp else { continue };
            otlp.set_endpoint(env.text("OTEL_EXPORTER_OTLP_ENDPOINT", base_address)?);
            otlp.apply(env, GENERAL)?;
        }
        Ok(())
    }

    fn apply_jaeger(&mut self, env: &impl Source) -> Result<(), ConfigError> {
        let endpoint = env.text("OTEL_EXPORTER_JAEGER_ENDPOINT", base_address)?;
        self.otlp.set_endpoint(endpoint);
        env.set(
            "OTEL_EXPORTER_JAEGER_TIMEOUT",
            &mut self.otlp.timeout,
            timeout,
        )
    }

    /// The collector of metrics is the one of both, unless the environment, or a file, says otherwise.
    fn apply_metrics_collector(
        &mut self,
        env: &impl Source,
        general: OtlpConfig,
    ) -> Result<(), ConfigError> {
        let own = self.metrics.otlp.take();
        let is_own = own.is_some();
        let mut metrics = own.unwrap_or_else(|| general.without_exact_endpoint());
        metrics.apply(env, "OTEL_EXPORTER_OTLP_METRICS")?;
        let differs = metrics != self.otlp.without_exact_endpoint();
        self.metrics.otlp = (is_own || differs).then_some(metrics);
        Ok(())
    }

    fn apply_metrics(&mut self, env: &impl Source) -> Result<(), ConfigError> {
        let metrics = &mut self.metrics;
        env.set("OTEL_METRICS_EXPORTER", &mut metrics.exporter_type, choice)?;
        env.set(
            "OTEL_METRIC_EXPORT_INTERVAL",
            &mut metrics.interval,
            timeout,
        )?;
        env.set("OTEL_METRIC_EXPORT_TIMEOUT", &mut metrics.timeout, timeout)?;
        env.text(TEMPORALITY, temporality)?;
        Ok(())
    }

    fn apply_sampling(
        &mut self,
        env: &impl Source,
        in_effect: impl Fn(&Self) -> SamplerType,
    ) -> Result<(), ConfigError> {
        env.set("OTEL_TRACES_SAMPLER", &mut self.sampler, choice)?;
        if in_effect(self).has_ratio() {
            env.set("OTEL_TRACES_SAMPLER_ARG", &mut self.sampling_rate, share)?;
        }
        if let Some(share) = env.text("PYPROC_TELEMETRY_SAMPLING_RATE", share)? {
            self.sampling_rate = share;
            // A rate that would have no effect is not what was asked for.
            if !self.sampler.has_ratio() {
                self.sampler = SamplerType::ParentBasedRatio;
            }
        }
        Ok(())
    }

    fn apply_limits(&mut self, env: &impl Source) -> Result<(), ConfigError> {
        let batch = &mut self.batch;
        env.set("OTEL_BSP_MAX_QUEUE_SIZE", &mut batch.max_queue_size, count)?;
        env.set(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            &mut batch.max_export_batch_size,
            count,
        )?;
        env.set("OTEL_BSP_SCHEDULE_DELAY", &mut batch.schedule_delay, millis)?;
        env.set(
            "OTEL_BSP_EXPORT_TIMEOUT",
            &mut batch.export_timeout,
            timeout,
        )?;
        let limits = &mut self.span_limits;
        for (variable, limit) in [
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", &mut limits.attributes),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", &mut limits.events),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", &mut limits.links),
        ] {
            env.set(variable, limit, number)?;
        }
        Ok(())
    }
}

impl OtlpConfig {
    /// From the variables that begin with `prefix`. A base address, to which a path is appended, only the general ones have.
    fn apply(&mut self, env: &impl Source, prefix: &str) -> Result<(), ConfigError> {
        let name = |what: &str| format!("{prefix}_{what}");
        if prefix != GENERAL {
            env.set_some(&name("ENDPOINT"), &mut self.exact_endpoint, address)?;
        }
        env.set(&name("PROTOCOL"), &mut self.protocol, |text| {
            choice(text).and_then(available_protocol)
        })?;
        env.set(&name("HEADERS"), &mut self.headers, secret_headers)?;
        env.set(&name("TIMEOUT"), &mut self.timeout, timeout)?;
        env.set(&name("COMPRESSION"), &mut self.compression, choice)?;
        env.set_some(&name("CERTIFICATE"), &mut self.certificate, |text| {
            Ok(text.into())
        })
    }

    /// A base from a later source also beats the full address of an earlier one.
    pub(crate) fn set_endpoint(&mut self, address: Option<String>) {
        if address.is_some() {
            self.endpoint = address;
            self.exact_endpoint = None;
        }
    }
}

impl SamplerType {
    fn has_ratio(self) -> bool {
        matches!(self, Self::Ratio | Self::ParentBasedRatio)
    }
}

struct Env<F>(F);

trait Source {
    /// The value as text; an empty variable counts as not set.
    fn get(&self, name: &str) -> Option<OsString>;

    fn text<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let value = value
            .into_string()
            .map_err(|_| ConfigError::new(name, "is not valid UTF-8"))?;
        match parse(value.trim()) {
            Ok(value) => Ok(Some(value)),
            Err(reason) => Err(ConfigError::new(name, reason)),
        }
    }

    fn set<T>(
        &self,
        name: &str,
        field: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        if let Some(value) = self.text(name, parse)? {
            *field = value;
        }
        Ok(())
    }

    fn set_some<T>(
        &self,
        name: &str,
        field: &mut Option<T>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        if let Some(value) = self.text(name, parse)? {
            *field = Some(value);
        }
        Ok(())
    }
}

impl<F: Fn(&str) -> Option<OsString>> Source for Env<F> {
    fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.to_string_lossy().trim().is_empty())
    }
}

/// A choice by its name, which is that of serde.
fn choice<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let name = text.to_ascii_lowercase();
    let name = StrDeserializer::<serde::de::value::Error>::new(&name);
    T::deserialize(name).map_err(|error| error.to_string())
}

/// Counters are sent as totals; nothing else can be asked for.
fn temporality(text: &str) -> Result<(), String> {
    match text.to_ascii_lowercase().as_str() {
        "cumulative" => Ok(()),
        _ => Err(format!("{text:?} is not cumulative, which is all there is")),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let value = text
        .parse()
        .map_err(|_| format!("{text:?} is not a share from 0 to 1"))?;
    rate(value)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a whole number within range"))
}

fn count(text: &str) -> Result<usize, String> {
    number(text).and_then(positive)
}

fn millis(text: &str) -> Result<Duration, String> {
    number(text)
        .map(Duration::from_millis)
        .map_err(|_| format!("{text:?} is not a whole number of milliseconds"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    millis(text).and_then(longer_than_zero)
}

fn address(text: &str) -> Result<String, String> {
    Endpoint::parse(text).map(|_| text.to_owned())
}

fn base_address(text: &str) -> Result<String, String> {
    Endpoint::parse_base(text).map(|_| text.to_owned())
}

fn propagators(text: &str) -> Result<Vec<PropagatorType>, String> {
    let names: Vec<_> = text.split(',').map(str::trim).collect();
    match names.as_slice() {
        ["none"] => Ok(Vec::new()),
        names if names.contains(&"none") => Err("none excludes all others".into()),
        names => {
            let mut chosen = Vec::new();
            for name in names {
                let propagator = choice(name).map_err(|error| format!("{error}, or none alone"))?;
                if !chosen.contains(&propagator) {
                    chosen.push(propagator);
                }
            }
            Ok(chosen)
        }
    }
}

fn secret_headers(text: &str) -> Result<Headers, String> {
    // The reasons of `pairs` repeat what was given.
    let headers: Headers = pairs(text)
        .map_err(|_| format!("{}, as name=value,name=value", headers::SHAPE))?
        .into_iter()
        .collect();
    headers.check()?;
    Ok(headers)
}

/// `name=value,name=value`, percent-encoded.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let decode = |part: &str| {
        percent_decode_str(part.trim())
            .decode_utf8()
            .map(String::from)
            .map_err(|_| format!("{part:?} is not percent-encoded UTF-8"))
    };
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((decode(name)?, decode(value)?)),
            _ => Err(format!("{pair:?} is not of the form name=value")),
        })
        .collect()
}

#[cfg(test)]
mod tests;
