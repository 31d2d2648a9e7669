use std::{fmt, io::Write, sync::Arc, time::Duration};

use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;

use crate::{
    Color, InitError, Levels, LogFormat, LogOutput, LoggingConfig, LoggingGuard, LoggingLayer,
    redact::Predicate, setup,
};

/// Sets up the log step by step. Most methods set the field of [`LoggingConfig`] of the same
/// name; unit, default and limits are documented there.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use pyproc_logging::{Levels, LogFormat, LoggingBuilder};
///
/// let _log = LoggingBuilder::default()
///     .level(Levels::INFO)
///     .format(LogFormat::Json)
///     .redact(["password", "authorization"])
///     .init()?;
/// tracing::info!(function_name = "predict", "request completed");
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use]
pub struct LoggingBuilder {
    pub(crate) config: LoggingConfig,
    pub(crate) predicate: Option<Predicate>,
    pub(crate) writer: Option<Box<dyn Write + Send>>,
}

impl LoggingBuilder {
    /// Which events are logged.
    pub fn level(mut self, levels: impl Into<Levels>) -> Self {
        self.config.level = levels.into();
        self
    }

    /// How a line looks.
    pub fn format(mut self, format: LogFormat) -> Self {
        self.config.format = format;
        self
    }

    /// Whether lines of a traced operation have its ids.
    pub fn trace_enabled(mut self, enabled: bool) -> Self {
        self.config.trace_enabled = enabled;
        self
    }

    /// Whether JSON lines have `target`.
    pub fn target(mut self, shown: bool) -> Self {
        self.config.target = shown;
        self
    }

    /// Where lines go.
    pub fn output(mut self, output: LogOutput) -> Self {
        self.config.output = output;
        self
    }

    /// Somewhere else for lines to go, such as a file, instead of `output`. It is called by one thread at a
    /// time, mostly with many whole lines at once, and flushed after each call. It never counts as a terminal.
    pub fn writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.writer = Some(Box::new(writer));
        self
    }

    /// Whether `text` has colours.
    pub fn color(mut self, color: Color) -> Self {
        self.config.color = color;
        self
    }

    /// The `name` of bunyan lines.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = Some(name.into());
        self
    }

    /// Lines that may wait for the output; 0 writes each at once.
    pub fn queue_lines(mut self, lines: usize) -> Self {
        self.config.queue_lines = lines;
        self
    }

    /// Bytes that may wait for the output.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.config.queue_bytes = bytes;
        self
    }

    /// How long the end of the program waits for the output.
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.config.flush_timeout = timeout;
        self
    }

    /// Longest value of a field.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.config.max_value_bytes = bytes;
        self
    }

    /// One field of every line, such as `version`.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.fields.insert(name.into(), value.into());
        self
    }

    /// Names of fields whose value is replaced by `[redacted]`.
    pub fn redact<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.config.redact = names.into_iter().map(Into::into).collect();
        self
    }

    /// Names of fields of spans that travel with calls, see [`baggage`](crate::baggage).
    pub fn travelling<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.config.travelling = names.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces also each value for which `hides(name, value)` is true; the value is given as text, cut
    /// if it was too long. Called for each field that is logged, so it should be quick; it must not
    /// log, and not panic.
    ///
    /// ```
    /// # use pyproc_logging::LoggingBuilder;
    /// let builder = LoggingBuilder::default()
    ///     .redact_if(|name, value| name.ends_with("_token") || value.starts_with("Bearer "));
    /// ```
    pub fn redact_if(mut self, hides: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(Arc::new(hides));
        self
    }

    /// Makes this the log of the whole program, until the guard is dropped.
    ///
    /// # Errors
    ///
    /// A setting is wrong, or the program has a global subscriber already. Nothing is changed
    /// then.
    pub fn init(self) -> Result<LoggingGuard, InitError> {
        setup::init(self)
    }

    /// The log as a layer, for programs that build their own subscriber, with its own filter for levels. It needs no
    /// other layer for the fields of spans, and can be there several times, such as once for each format.
    ///
    /// Of the `bunyan` format there can be one only, and none of `tracing-bunyan-formatter`'s own storage
    /// beside it: that panics on the first span.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use pyproc_logging::LoggingBuilder;
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// let (log, _guard) = LoggingBuilder::default().layer()?;
    /// let subscriber = tracing_subscriber::registry().with(log);
    /// tracing::subscriber::with_default(subscriber, || tracing::info!("hello"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A setting is wrong.
    pub fn layer<S>(self) -> Result<(LoggingLayer<S>, LoggingGuard), InitError>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        setup::layer(self)
    }
}

/// Settings from a file or the environment, to be changed further.
impl From<LoggingConfig> for LoggingBuilder {
    fn from(config: LoggingConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }
}

impl fmt::Debug for LoggingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggingBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
