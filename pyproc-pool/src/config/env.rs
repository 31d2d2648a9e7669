//! Settings from `PYPROC_*` variables.

use std::{
    ffi::{OsStr, OsString},
    fmt::Display,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, de::value::StrDeserializer};

use super::{LogLevel, PoolConfig, WorkerOutput};
use crate::ConfigError;

impl PoolConfig {
    /// Overrides each field whose variable `lookup` finds.
    pub(crate) fn apply(
        &mut self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), ConfigError> {
        let env = Env(lookup);
        env.parsed("PYPROC_WORKERS", &mut self.workers)?;
        env.parsed("PYPROC_MAX_IN_FLIGHT", &mut self.max_in_flight)?;
        env.parsed("PYPROC_MAX_QUEUE", &mut self.max_queue)?;
        env.path("PYPROC_PYTHON_EXEC", &mut self.python_exec);
        env.optional_path("PYPROC_WORKER_SCRIPT", &mut self.worker_script);
        env.optional_path("PYPROC_WORKING_DIR", &mut self.working_dir);
        env.duration("PYPROC_START_TIMEOUT", &mut self.start_timeout)?;
        env.duration("PYPROC_REQUEST_TIMEOUT", &mut self.request_timeout)?;
        env.optional_path("PYPROC_SOCKET_DIR", &mut self.socket_dir);
        env.parsed("PYPROC_MAX_FRAME_SIZE", &mut self.max_frame_size)?;
        env.paths("PYPROC_EXTERNAL_SOCKETS", &mut self.external_sockets);
        env.parsed(
            "PYPROC_MAX_PROTOCOL_VERSION",
            &mut self.max_protocol_version,
        )?;
        env.duration("PYPROC_SPIN", &mut self.spin)?;
        let restart = &mut self.restart;
        env.parsed("PYPROC_RESTART_MAX_ATTEMPTS", &mut restart.max_attempts)?;
        env.duration(
            "PYPROC_RESTART_INITIAL_BACKOFF",
            &mut restart.initial_backoff,
        )?;
        env.duration("PYPROC_RESTART_MAX_BACKOFF", &mut restart.max_backoff)?;
        env.parsed("PYPROC_RESTART_MULTIPLIER", &mut restart.multiplier)?;
        env.parsed("PYPROC_OUTPUT", &mut self.output)?;
        env.parsed("PYPROC_PYTHON_LOGS", &mut self.python_logs)?;
        env.parsed("PYPROC_LOG_RATE", &mut self.log_rate)?;
        env.parsed("PYPROC_CALL_LOG", &mut self.call_log)?;
        env.duration("PYPROC_SLOW_CALL", &mut self.slow_call)
    }
}

struct Env<F>(F);

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    /// An empty variable counts as not set.
    fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn parsed<T: FromStr<Err: Display>>(
        &self,
        name: &str,
        field: &mut T,
    ) -> Result<(), ConfigError> {
        self.with(name, field, |text| {
            text.parse().map_err(|e: T::Err| e.to_string())
        })
    }

    fn duration(&self, name: &str, field: &mut Duration) -> Result<(), ConfigError> {
        // The reader of the serde form, so that both take the same notation.
        let parse = |text: &str| {
            let text = StrDeserializer::<serde::de::value::Error>::new(text);
            humantime_serde::deserialize(text)
                .map_err(|_| "is no duration, such as 5s or 250ms".to_owned())
        };
        self.with(name, field, parse)
    }

    fn with<T>(
        &self,
        name: &str,
        field: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(), ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(());
        };
        let text = value.to_string_lossy();
        *field =
            parse(&text).map_err(|reason| ConfigError::new(name, format!("{text:?}: {reason}")))?;
        Ok(())
    }

    fn path(&self, name: &str, field: &mut PathBuf) {
        if let Some(value) = self.get(name) {
            *field = value.into();
        }
    }

    fn optional_path(&self, name: &str, field: &mut Option<PathBuf>) {
        if let Some(value) = self.get(name) {
            *field = Some(value.into());
        }
    }

    fn paths(&self, name: &str, field: &mut Vec<PathBuf>) {
        if let Some(value) = self.get(name) {
            *field = std::env::split_paths::<OsStr>(&value).collect();
        }
    }
}

/// Turns the field of an error into the variable that sets it.
pub(crate) fn naming_the_variable(error: ConfigError) -> ConfigError {
    let name = error.field.replace('.', "_").to_uppercase();
    ConfigError::new(format!("PYPROC_{name}"), error.reason)
}

impl FromStr for WorkerOutput {
    type Err = serde::de::value::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        named(text)
    }
}

impl FromStr for LogLevel {
    type Err = serde::de::value::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        named(text)
    }
}

/// The variant that serde knows by this name.
fn named<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, serde::de::value::Error> {
    T::deserialize(StrDeserializer::<serde::de::value::Error>::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(variables: &[(&str, &str)]) -> Result<PoolConfig, ConfigError> {
        let mut config = PoolConfig::default();
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
        config.apply(|name| find(name).map(|(_, value)| value.into()))?;
        Ok(config)
    }

    #[test]
    fn variables_override_defaults() {
        let config = applied(&[
            ("PYPROC_WORKERS", "3"),
            ("PYPROC_START_TIMEOUT", "5s"),
            ("PYPROC_RESTART_MULTIPLIER", "1.5"),
            ("PYPROC_EXTERNAL_SOCKETS", "/run/a.sock:/run/b.sock"),
            ("PYPROC_OUTPUT", "discard"),
            ("PYPROC_PYTHON_LOGS", "false"),
            ("PYPROC_CALL_LOG", "info"),
            ("PYPROC_SLOW_CALL", "1s"),
        ])
        .unwrap();
        assert_eq!(config.workers, 3);
        assert_eq!(config.start_timeout, Duration::from_secs(5));
        assert_eq!(config.restart.multiplier, 1.5);
        assert_eq!(
            config.external_sockets,
            ["/run/a.sock", "/run/b.sock"].map(PathBuf::from)
        );
        assert_eq!(config.output, WorkerOutput::Discard);
        assert!(!config.python_logs);
        assert_eq!(config.call_log, LogLevel::Info);
        assert_eq!(config.slow_call, Duration::from_secs(1));
        assert_eq!(config.max_queue, PoolConfig::default().max_queue);
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let config = applied(&[
            ("PYPROC_WORKERS", ""),
            ("PYPROC_SOCKET_DIR", ""),
            ("PYPROC_EXTERNAL_SOCKETS", ""),
        ])
        .unwrap();
        assert_eq!(config, PoolConfig::default());
    }

    #[test]
    fn a_value_out_of_range_names_the_variable_too() {
        let error = applied(&[("PYPROC_RESTART_MULTIPLIER", "0.1")])
            .unwrap()
            .restart
            .validate()
            .unwrap_err();
        assert_eq!(
            naming_the_variable(error).field,
            "PYPROC_RESTART_MULTIPLIER"
        );
    }

    #[test]
    fn a_bad_value_is_an_error_that_names_the_variable() {
        for (name, value) in [
            ("PYPROC_WORKERS", "many"),
            ("PYPROC_WORKERS", "-1"),
            ("PYPROC_REQUEST_TIMEOUT", "5"),
            ("PYPROC_RESTART_MULTIPLIER", "twice"),
            ("PYPROC_OUTPUT", "loud"),
            ("PYPROC_CALL_LOG", "verbose"),
            ("PYPROC_LOG_RATE", "-1"),
        ] {
            let error = applied(&[(name, value)]).unwrap_err();
            assert_eq!(error.field, name);
            assert!(error.reason.contains(value), "{error}");
        }
    }
}
