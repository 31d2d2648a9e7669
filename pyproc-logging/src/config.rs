use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{ConfigError, Levels};

mod env;

pub(crate) use env::naming_the_variable;

const MAX_LINES: usize = 1 << 24;
const MAX_BYTES: usize = 1 << 30;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingConfig {
    /// Which events are logged, such as `info` or `info,pyproc::pool=debug`. Default `info`.
    pub level: Levels,
    /// How a line looks. Default [`LogFormat::Json`].
    pub format: LogFormat,
    /// Whether lines of a traced operation have its ids. Default true. Without a trace, lines have none
    /// either way. Of no effect on the `bunyan` format, which has none.
    pub trace_enabled: bool,
    /// Whether JSON lines have `target`, the module that logged. Default false. Text and
    /// bunyan lines always have it.
    pub target: bool,
    /// Where lines go. Default [`LogOutput::Stdout`].
    pub output: LogOutput,
    /// Whether `text` has colours. Default [`Color::Auto`].
    pub color: Color,
    /// The `name` of bunyan lines. Default: the program's file name.
    pub name: Option<String>,
    /// Lines that may wait for the output. Default 65,536. Further lines are dropped and counted until
    /// there is room. 0 means that nothing waits: each line is written by the thread
    /// that logs it, which stops while the output takes no more.
    pub queue_lines: usize,
    /// Bytes that may wait for the output. Default 16 MiB, at most 1 GiB. A line that is longer than this is
    /// dropped. Twice as much memory may be in use.
    pub queue_bytes: usize,
    /// How long the end of the program waits for an output that is slow. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub flush_timeout: Duration,
    /// Longest value of a field, and longest message, in bytes before escaping. Default 64 KiB, from 64 bytes to
    /// 16 MiB. What is longer is cut and ends in `…[cut]`.
    pub max_value_bytes: usize,
    /// Fields of every line, such as `pod_name` or `version`. Default: none. Their names are theirs alone: a field of an event with such
    /// a name gets a number. Keys that a line has itself are refused. Which variables set them is listed in the crate
    /// [`pyproc_fields`].
    pub fields: BTreeMap<String, String>,
    /// Names of fields whose value is replaced by `[redacted]`, in any case (of ASCII letters). Default: none. The
    /// message itself is never looked at, so secrets don't belong there.
    pub redact: Vec<String>,
    /// Names of fields of spans that travel with calls to other processes, see [`baggage`](crate::baggage). Default
    /// `request_id`. They may have ASCII letters, digits, and of signs ``!#$%&'*+-.^_`|~``. What travels leaves the
    /// program: secrets don't belong there.
    pub travelling: Vec<String>,
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

impl Default for LoggingConfig {
    fn default() -> Self {
        Self {
            level: Levels::default(),
            format: LogFormat::default(),
            trace_enabled: true,
            target: false,
            output: LogOutput::default(),
            color: Color::default(),
            name: None,
            queue_lines: 65_536,
            queue_bytes: 16 << 20,
            flush_timeout: Duration::from_secs(5),
            max_value_bytes: 64 << 10,
            fields: BTreeMap::new(),
            redact: Vec::new(),
            travelling: vec!["request_id".into()],
        }
    }
}

impl LoggingConfig {
    /// Reads settings from any serde format and checks them.
    ///
    /// # Errors
    ///
    /// Names the field that is unknown, of the wrong type or out of range.
    pub fn from_deserializer<'de, D: Deserializer<'de>>(source: D) -> Result<Self, ConfigError> {
        let config: Self = serde_path_to_error::deserialize(source).map_err(|error| {
            ConfigError::new(error.path().to_string(), error.inner().to_string())
        })?;
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
    pub fn read_env(mut self) -> Result<Self, ConfigError> {
        self.apply(|name| std::env::var_os(name))?;
        self.validate().map_err(naming_the_variable)?;
        Ok(self)
    }

    /// Checks that every value makes sense. Setting up the log does so itself.
    ///
    /// # Errors
    ///
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("queue_lines", self.queue_lines, 0, MAX_LINES)?;
        in_range("queue_bytes", self.queue_bytes, 4096, MAX_BYTES)?;
        in_range("max_value_bytes", self.max_value_bytes, 64, 16 << 20)?;
        for name in self.fields.keys() {
            let invalid = |reason| ConfigError::new("fields", reason);
            pyproc_fields::check_name(name).map_err(invalid)?;
            if self.format.own_keys().contains(&name.as_str()) {
                let reason = format!("`{name}` is a key of bunyan's own; choose another name");
                return Err(invalid(reason));
            }
        }
        if self.redact.iter().any(String::is_empty) {
            return Err(ConfigError::new("redact", "a field has no name"));
        }
        if let Some(name) = self.travelling.iter().find(|name| !is_key(name)) {
            let reason = format!("{name:?} cannot be a key of W3C baggage");
            return Err(ConfigError::new("travelling", reason));
        }
        Ok(())
    }
}

fn in_range(field: &str, value: usize, min: usize, max: usize) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let reason = format!("{value} is not between {min} and {max}");
    Err(ConfigError::new(field, reason))
}

/// Whether a name can be a key of W3C baggage.
fn is_key(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<LoggingConfig, ConfigError> {
        LoggingConfig::from_deserializer(&mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let config = LoggingConfig {
            level: "warn,a=debug".parse().unwrap(),
            format: LogFormat::Text,
            name: Some("n".into()),
            flush_timeout: Duration::from_millis(20),
            fields: [("pod_name".into(), "shop-1".into())].into(),
            redact: vec!["password".into()],
            travelling: Vec::new(),
            ..LoggingConfig::default()
        };
        assert_eq!(
            read(&serde_json::to_string(&config).unwrap()).unwrap(),
            config
        );
        assert_eq!(read("{}").unwrap(), LoggingConfig::default());
    }

    #[test]
    fn every_bad_value_names_its_field() {
        for (json, field) in [
            (r#"{"levle": "info"}"#, "levle"),
            (r#"{"level": "loud"}"#, "level"),
            (r#"{"level": 3}"#, "level"),
            (r#"{"format": "xml"}"#, "format"),
            (r#"{"trace_enabled": "yes"}"#, "trace_enabled"),
            (r#"{"output": "file"}"#, "output"),
            (r#"{"color": "red"}"#, "color"),
            (r#"{"queue_lines": -1}"#, "queue_lines"),
            (r#"{"queue_bytes": 10}"#, "queue_bytes"),
            (r#"{"flush_timeout": 5}"#, "flush_timeout"),
            (r#"{"max_value_bytes": 1}"#, "max_value_bytes"),
            (r#"{"fields": {"level": "x"}}"#, "fields"),
            (r#"{"fields": {"": "x"}}"#, "fields"),
            (r#"{"fields": {"a\nb": "x"}}"#, "fields"),
            (r#"{"fields": {"a": 3}}"#, "fields.a"),
            (r#"{"redact": [""]}"#, "redact"),
            (r#"{"travelling": [""]}"#, "travelling"),
            (r#"{"travelling": ["user id"]}"#, "travelling"),
        ] {
            assert_eq!(read(json).unwrap_err().field, field, "{json}");
        }
    }
}
