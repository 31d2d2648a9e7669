//! Settings from `PYPROC_LOG_*` variables.

use std::{ffi::OsString, time::Duration};

use serde::de::{
    DeserializeOwned,
    value::{Error as TextError, StrDeserializer},
};

use super::LoggingConfig;
use crate::ConfigError;

impl LoggingConfig {
    /// Overrides each field whose variable `lookup` finds.
    pub(crate) fn apply(
        &mut self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), ConfigError> {
        let env = Env(lookup);
        env.set("PYPROC_LOG_LEVEL", &mut self.level, word)?;
        env.set("PYPROC_LOG_FORMAT", &mut self.format, word)?;
        env.set(
            "PYPROC_LOG_TRACE_ENABLED",
            &mut self.trace_enabled,
            yes_or_no,
        )?;
        env.set("PYPROC_LOG_TARGET", &mut self.target, yes_or_no)?;
        env.set("PYPROC_LOG_OUTPUT", &mut self.output, word)?;
        env.set("PYPROC_LOG_COLOR", &mut self.color, word)?;
        env.set("PYPROC_LOG_NAME", &mut self.name, |text| {
            Ok(Some(text.into()))
        })?;
        env.set("PYPROC_LOG_QUEUE_LINES", &mut self.queue_lines, number)?;
        env.set("PYPROC_LOG_QUEUE_BYTES", &mut self.queue_bytes, number)?;
        env.set(
            "PYPROC_LOG_FLUSH_TIMEOUT",
            &mut self.flush_timeout,
            duration,
        )?;
        env.set(
            "PYPROC_LOG_MAX_VALUE_BYTES",
            &mut self.max_value_bytes,
            number,
        )?;
        let fields = pyproc_fields::from_env(&env.0)
            .map_err(|error| ConfigError::new(error.variable, error.reason))?;
        self.fields.extend(fields);
        env.set("PYPROC_LOG_REDACT", &mut self.redact, list)?;
        env.set("PYPROC_LOG_TRAVELLING", &mut self.travelling, list)
    }
}

struct Env<F>(F);

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    /// An empty variable counts as not set.
    fn set<T>(
        &self,
        name: &str,
        field: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        let Some(value) = (self.0)(name).filter(|value| !value.is_empty()) else {
            return Ok(());
        };
        let text = value
            .to_str()
            .ok_or_else(|| ConfigError::new(name, "is not UTF-8"))?;
        *field =
            parse(text).map_err(|reason| ConfigError::new(name, format!("{text:?}: {reason}")))?;
        Ok(())
    }
}

/// By the reader of the serde form, so that both take the same words.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<TextError>::new(text)).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime_serde::deserialize(StrDeserializer::<TextError>::new(text))
        .map_err(|error| error.to_string())
}

fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|error: std::num::ParseIntError| error.to_string())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

fn list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(|name| name.trim().into()).collect())
}

/// Turns the field of an error into the variable that sets it.
pub(crate) fn naming_the_variable(error: ConfigError) -> ConfigError {
    ConfigError::new(
        format!("PYPROC_LOG_{}", error.field.to_uppercase()),
        error.reason,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{Color, Levels, LogFormat, LogOutput};

    fn applied(variables: &[(&str, &str)]) -> Result<LoggingConfig, ConfigError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let mut config = LoggingConfig::default();
        config.apply(|name| variables.get(name).map(OsString::from))?;
        config.validate().map_err(naming_the_variable)?;
        Ok(config)
    }

    #[test]
    fn each_variable_sets_its_field() {
        let config = applied(&[
            ("PYPROC_LOG_LEVEL", "debug,hyper=off"),
            ("PYPROC_LOG_FORMAT", "text"),
            ("PYPROC_LOG_TRACE_ENABLED", "False"),
            ("PYPROC_LOG_TARGET", "1"),
            ("PYPROC_LOG_OUTPUT", "stderr"),
            ("PYPROC_LOG_COLOR", "never"),
            ("PYPROC_LOG_NAME", "billing"),
            ("PYPROC_LOG_QUEUE_LINES", "0"),
            ("PYPROC_LOG_QUEUE_BYTES", "8192"),
            ("PYPROC_LOG_FLUSH_TIMEOUT", "250ms"),
            ("PYPROC_LOG_MAX_VALUE_BYTES", "100"),
            ("PYPROC_LOG_FIELDS", "version=1.4.2"),
            ("POD_NAME", "shop-1"),
            ("PYPROC_LOG_REDACT", "password, token"),
            ("PYPROC_LOG_TRAVELLING", "request_id, tenant"),
        ]);
        let expected = LoggingConfig {
            level: Levels::DEBUG.with_target("hyper", tracing::level_filters::LevelFilter::OFF),
            format: LogFormat::Text,
            trace_enabled: false,
            target: true,
            output: LogOutput::Stderr,
            color: Color::Never,
            name: Some("billing".into()),
            queue_lines: 0,
            queue_bytes: 8192,
            flush_timeout: Duration::from_millis(250),
            max_value_bytes: 100,
            fields: [("pod_name", "shop-1"), ("version", "1.4.2")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            redact: vec!["password".into(), "token".into()],
            travelling: vec!["request_id".into(), "tenant".into()],
        };
        assert_eq!(config.unwrap(), expected);
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let config = applied(&[("PYPROC_LOG_LEVEL", ""), ("PYPROC_LOG_REDACT", "")]).unwrap();
        assert_eq!(config, LoggingConfig::default());
    }

    #[test]
    fn a_bad_value_is_an_error_that_names_the_variable() {
        for (name, value) in [
            ("PYPROC_LOG_LEVEL", "verbose"),
            ("PYPROC_LOG_FORMAT", "xml"),
            ("PYPROC_LOG_TRACE_ENABLED", "yes"),
            ("PYPROC_LOG_TARGET", "2"),
            ("PYPROC_LOG_OUTPUT", "file"),
            ("PYPROC_LOG_COLOR", "red"),
            ("PYPROC_LOG_QUEUE_LINES", "many"),
            ("PYPROC_LOG_QUEUE_BYTES", "1"),
            ("PYPROC_LOG_FLUSH_TIMEOUT", "5"),
            ("PYPROC_LOG_MAX_VALUE_BYTES", "-1"),
            ("PYPROC_LOG_FIELDS", "version"),
            ("PYPROC_LOG_FIELDS", "level=x"),
            ("PYPROC_LOG_REDACT", "password,,token"),
            ("PYPROC_LOG_TRAVELLING", "a;b"),
        ] {
            let error = applied(&[(name, value)]).unwrap_err();
            assert_eq!(error.field, name);
        }
    }
}
