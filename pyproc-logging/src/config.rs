//! The settings of the log, each declared once: field, default, variable, method of the builder and row of the README.

use std::{collections::BTreeMap, env, time::Duration};

use pyproc_settings::{
    Env, Invalid, Layers, Settings, from_deserializer,
    kind::{duration, flag, list, number, optional, text, word},
    settings,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{ConfigError, Levels};

const MAX_LINES: usize = 1 << 24;
const MAX_BYTES: usize = 1 << 30;
const MAX_VALUE_BYTES: usize = 16 << 20;

settings! {
    /// All settings of the log, with their defaults.
    ///
    /// Reads from any serde format; durations are texts such as `"250ms"`, and a field that does
    /// not exist is refused. [`from_env`](Self::from_env) reads the `PYPROC_LOG_*` variables.
    ///
    /// ```
    /// # use pyproc_logging::{Levels, LogFormat, LoggingConfig};
    /// let mut json = serde_json::Deserializer::from_str(r#"{"level": "warn,my_service=debug", "format": "text"}"#);
    /// let config = LoggingConfig::from_deserializer(&mut json)?;
    /// assert_eq!(config.format, LogFormat::Text);
    /// assert!(config.trace_enabled);
    /// # Ok::<(), pyproc_logging::ConfigError>(())
    /// ```
    #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct LoggingConfig with builder_methods! {
        /// Which events are logged: `off`, `error`, `warn`, `info`, `debug` or `trace`; or levels by target, such as
        /// `info,pyproc::pool=debug,hyper=off`. Default `info`. Workers in Python read the same variable.
        #[variable("PYPROC_LOG_LEVEL" as word)]
        #[builder(into Levels)]
        pub level: Levels = Levels::default(),
        /// How a line looks: `json`, `bunyan` or `text`. Default [`json`](LogFormat::Json).
        #[variable("PYPROC_LOG_FORMAT" as word)]
        #[builder(value)]
        pub format: LogFormat = LogFormat::default(),
        /// Whether lines of a traced operation have its ids. Default `true`. Without a trace, lines have none
        /// either way. Of no effect on the `bunyan` format, which has none.
        #[variable("PYPROC_LOG_TRACE_ENABLED" as flag)]
        #[builder(value)]
        pub trace_enabled: bool = true,
        /// Whether JSON lines have `target`, the module that logged. Default `false`. Text and
        /// bunyan lines always have it.
        #[variable("PYPROC_LOG_TARGET" as flag)]
        #[builder(value)]
        pub target: bool = false,
        /// Where lines go: `stdout` or `stderr`. Default [`stdout`](LogOutput::Stdout).
        #[variable("PYPROC_LOG_OUTPUT" as word)]
        #[builder(value)]
        pub output: LogOutput = LogOutput::default(),
        /// Whether `text` has colours: `auto`, `always` or `never`. Default [`auto`](Color::Auto).
        #[variable("PYPROC_LOG_COLOR" as word)]
        #[builder(value)]
        pub color: Color = Color::default(),
        /// The `name` of bunyan lines. Default: the program's file name.
        #[variable("PYPROC_LOG_NAME" as optional(text))]
        #[builder(into String)]
        pub name: Option<String> = None,
        /// Lines that may wait for the output. Default 65,536. Further lines are dropped and counted until
        /// there is room. 0 means that nothing waits: each line is written by the thread
        /// that logs it, which stops while the output takes no more.
        #[variable("PYPROC_LOG_QUEUE_LINES" as number(0..=MAX_LINES))]
        #[builder(value)]
        pub queue_lines: usize = 65_536,
        /// Bytes that may wait for the output. Default 16 MiB, at most 1 GiB. A line that is longer than this is
        /// dropped. Twice as much memory may be in use.
        #[variable("PYPROC_LOG_QUEUE_BYTES" as number(4096..=MAX_BYTES))]
        #[builder(value)]
        pub queue_bytes: usize = 16 << 20,
        /// How long the end of the program waits for an output that is slow. Default 5 s.
        #[variable("PYPROC_LOG_FLUSH_TIMEOUT" as duration)]
        #[builder(value)]
        #[serde(with = "humantime_serde")]
        pub flush_timeout: Duration = Duration::from_secs(5),
        /// Longest value of a field, and longest message, in bytes before escaping. Default 64 KiB, from 64 bytes to
        /// 16 MiB. What is longer is cut and ends in `…[cut]`.
        #[variable("PYPROC_LOG_MAX_VALUE_BYTES" as number(64..=MAX_VALUE_BYTES))]
        #[builder(value)]
        pub max_value_bytes: usize = 64 << 10,
        /// Fields of every line, such as `version=1.4.2,region=eu`. Default: none. Their names are reserved: a field of an
        /// event with such a name gets a number. The keys that a line has itself are refused. The crate
        /// [`pyproc_fields`], which `pyproc-telemetry` uses, too, lists which variable sets which field.
        #[variable(
            "NODE_NAME",
            "POD_NAMESPACE",
            "POD_NAME",
            "PYPROC_LOG_FIELDS"
        )]
        #[builder(entry field)]
        pub fields: BTreeMap<String, String> = BTreeMap::new(),
        /// Names of fields whose value is replaced by `[redacted]`, such as `password,token`, in any case (of ASCII
        /// letters). Default: none. The message itself is never searched, so secrets don't belong there.
        #[variable("PYPROC_LOG_REDACT" as list)]
        #[builder(list String)]
        pub redact: Vec<String> = Vec::new(),
        /// Names of fields of spans that travel with calls to other processes, see [`baggage`](crate::baggage). Default
        /// `request_id`. They may have ASCII letters, digits, and of signs ``!#$%&'*+-.^_`|~``. What travels leaves the
        /// program: secrets don't belong there.
        #[variable("PYPROC_LOG_TRAVELLING" as list)]
        #[builder(list String)]
        pub travelling: Vec<String> = vec!["request_id".into()],
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object a line: `time`, `level`, `msg`, then `trace_id`, `span_id`, `trace_flags`,
    /// then fields.
    #[default]
    Json,
    /// The format of the Bunyan tools, as the crate `tracing-bunyan-formatter` writes it. Needs the feature
    /// `bunyan`, which is on by default.
    #[cfg(feature = "bunyan")]
    Bunyan,
    /// For people, coloured on a terminal.
    Text,
}

impl LogFormat {
    /// The keys that the format itself writes, beyond those that no field may have in any format.
    pub(crate) fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::Json | Self::Text => &[],
            #[cfg(feature = "bunyan")]
            Self::Bunyan => &["v", "name", "msg", "level", "hostname", "pid", "time"],
        }
    }
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogOutput {
    /// To the standard output.
    #[default]
    Stdout,
    /// To the standard error output.
    Stderr,
}

/// Whether `text` has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Color {
    /// On a terminal, unless the variable `NO_COLOR` is set and not empty, or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always, whatever `NO_COLOR` says.
    Always,
    /// Never.
    Never,
}

impl LoggingConfig {
    /// Reads settings from any serde format and checks them.
    ///
    /// # Errors
    ///
    /// Names the field that is unknown, of the wrong type or out of range.
    pub fn from_deserializer<'de, D: Deserializer<'de>>(source: D) -> Result<Self, ConfigError> {
        let config: Self = from_deserializer(source, |_| None)?;
        config.validate()?;
        Ok(config)
    }

    /// Reads settings from the environment: `PYPROC_LOG_` and the field's name in capitals, such as
    /// `PYPROC_LOG_LEVEL=info,hyper=off`, `PYPROC_LOG_FORMAT=text` or
    /// `PYPROC_LOG_REDACT=password,token`; and what Kubernetes says of the pod. What is not set, or empty, has its default.
    ///
    /// # Errors
    ///
    /// Names the variable whose value makes no sense.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::default().read_env()
    }

    /// These settings, such as a file's, with what the environment says over them, as [`from_env`](Self::from_env)
    /// reads it. What code sets over both, [`LoggingBuilder`](crate::LoggingBuilder) knows.
    ///
    /// # Errors
    ///
    /// Names the variable whose value makes no sense.
    pub fn read_env(self) -> Result<Self, ConfigError> {
        let settings = Layers::from(self).read_env();
        Ok(settings.in_effect(Self::apply, Self::check, |name| env::var_os(name))?)
    }

    /// Checks that every value makes sense. Setting up the log does so itself.
    ///
    /// # Errors
    ///
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Ok(self.check()?)
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        self.check_values()?;
        for name in self.fields.keys() {
            let invalid = |reason| Invalid::new("fields", reason);
            pyproc_fields::check_name(name).map_err(invalid)?;
            if self.format.own_keys().contains(&name.as_str()) {
                let reason = format!("`{name}` is a key of bunyan's own; choose another name");
                return Err(invalid(reason));
            }
        }
        if self.redact.iter().any(String::is_empty) {
            return Err(Invalid::new("redact", "a field has no name"));
        }
        if let Some(name) = self.travelling.iter().find(|name| !is_key(name)) {
            let reason = format!("{name:?} cannot be a key of W3C baggage");
            return Err(Invalid::new("travelling", reason));
        }
        Ok(())
    }

    /// Reads the variables, then sets what code sets.
    pub(crate) fn apply(&mut self, env: &Env<'_>, code: &dyn Fn(&mut Self)) -> Result<(), Invalid> {
        self.read_variables(env)?;
        let fields = pyproc_fields::from_env(|name| env.get(name));
        self.fields
            .extend(fields.map_err(|error| Invalid::new(error.variable, error.reason))?);
        code(self);
        Ok(())
    }
}

/// Whether a name can be a key of W3C baggage.
fn is_key(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

#[cfg(test)]
mod tests;
