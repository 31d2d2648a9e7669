//! Variables that count only beside others: those of the collectors, of the sampling rate and of the service's attributes.

use pyproc_settings::{
    Env, Invalid, Settings,
    kind::{flag, optional, path},
};

use super::{
    Config, ExporterType, OtlpConfig, SamplerType,
    values::{
        address, available_protocol, base_address, choice, pairs, secret_headers, share,
        temporality, timeout,
    },
};

/// How the variables begin that mean the collector of both traces and metrics.
const GENERAL: &str = "OTEL_EXPORTER_OTLP";
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

impl Config {
    /// Overrides each field whose variable is set, of which what comes later wins, and then what `code` sets.
    pub(super) fn apply(&mut self, env: &Env<'_>, code: &dyn Fn(&mut Self)) -> Result<(), Invalid> {
        // Some variables count only beside certain values of other settings, which may be set in code.
        let in_effect = |config: &Self| {
            let mut config = config.clone();
            code(&mut config);
            config
        };
        self.apply_attributes(env)?;
        self.read_variables(env)?;
        if env.value("OTEL_SDK_DISABLED", &flag)? == Some(true) {
            self.enabled = false;
        }
        self.apply_sampling_rate(env, |config| in_effect(config).sampler)?;
        env.value(TEMPORALITY, &temporality)?;
        self.apply_general_collector(env)?;
        let general = in_effect(self).otlp;
        self.otlp.apply(env, "OTEL_EXPORTER_OTLP_TRACES")?;
        if in_effect(self).exporter_type == ExporterType::Jaeger {
            self.apply_jaeger(env)?;
        }
        code(self);
        self.apply_metrics_collector(env, general)
    }

    fn apply_attributes(&mut self, env: &Env<'_>) -> Result<(), Invalid> {
        let attributes = env.value("OTEL_RESOURCE_ATTRIBUTES", &pairs)?;
        for (name, value) in attributes.into_iter().flatten() {
            match name.as_str() {
                "service.name" => self.service_name = value,
                _ => drop(self.resource_attributes.insert(name, value)),
            }
        }
        let fields = pyproc_fields::from_env(|name| env.get(name))
            .map_err(|error| Invalid::new(error.variable, error.reason))?;
        self.fields.extend(fields);
        Ok(())
    }

    /// The general variables mean both collectors, that of traces and that of metrics.
    fn apply_general_collector(&mut self, env: &Env<'_>) -> Result<(), Invalid> {
        for otlp in [Some(&mut self.otlp), self.metrics.otlp.as_mut()] {
            let Some(otlp) = otlp else { continue };
            otlp.set_endpoint(env.value("OTEL_EXPORTER_OTLP_ENDPOINT", &base_address)?);
            otlp.apply(env, GENERAL)?;
        }
        Ok(())
    }

    fn apply_jaeger(&mut self, env: &Env<'_>) -> Result<(), Invalid> {
        let endpoint = env.value("OTEL_EXPORTER_JAEGER_ENDPOINT", &base_address)?;
        self.otlp.set_endpoint(endpoint);
        env.set(
            "OTEL_EXPORTER_JAEGER_TIMEOUT",
            &mut self.otlp.timeout,
            &timeout,
        )
    }

    /// The collector of metrics is the one of both, unless the environment, or a file, says otherwise.
    fn apply_metrics_collector(
        &mut self,
        env: &Env<'_>,
        general: OtlpConfig,
    ) -> Result<(), Invalid> {
        let own = self.metrics.otlp.take();
        let is_own = own.is_some();
        let mut metrics = own.unwrap_or_else(|| general.without_exact_endpoint());
        metrics.apply(env, "OTEL_EXPORTER_OTLP_METRICS")?;
        let differs = metrics != self.otlp.without_exact_endpoint();
        self.metrics.otlp = (is_own || differs).then_some(metrics);
        Ok(())
    }

    fn apply_sampling_rate(
        &mut self,
        env: &Env<'_>,
        in_effect: impl Fn(&Self) -> SamplerType,
    ) -> Result<(), Invalid> {
        if in_effect(self).has_ratio() {
            env.set("OTEL_TRACES_SAMPLER_ARG", &mut self.sampling_rate, &share)?;
        }
        if let Some(share) = env.value("PYPROC_TELEMETRY_SAMPLING_RATE", &share)? {
            self.sampling_rate = share;
            // A rate that would have no effect is not what was asked for.
            if !self.sampler.has_ratio() {
                self.sampler = SamplerType::ParentBasedRatio;
            }
        }
        Ok(())
    }
}

impl OtlpConfig {
    /// From the variables that begin with `prefix`. A base address, to which a path is appended, only the general ones have.
    fn apply(&mut self, env: &Env<'_>, prefix: &str) -> Result<(), Invalid> {
        let name = |what: &str| format!("{prefix}_{what}");
        if prefix != GENERAL {
            env.set(
                &name("ENDPOINT"),
                &mut self.exact_endpoint,
                &optional(address),
            )?;
        }
        env.set(&name("PROTOCOL"), &mut self.protocol, &available_protocol)?;
        env.set(&name("HEADERS"), &mut self.headers, &secret_headers)?;
        env.set(&name("TIMEOUT"), &mut self.timeout, &timeout)?;
        env.set(&name("COMPRESSION"), &mut self.compression, &choice)?;
        env.set(
            &name("CERTIFICATE"),
            &mut self.certificate,
            &optional(path()),
        )
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

#[cfg(test)]
mod tests;
