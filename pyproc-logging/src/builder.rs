use std::{ffi::OsString, fmt, io::Write, sync::Arc, time::Duration};

use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;

use crate::{
    Color, ConfigError, InitError, Levels, LogFormat, LogOutput, LoggingConfig, LoggingGuard,
    LoggingLayer, config::naming_the_variable, format::Predicate, setup,
};

/// Sets up the log step by step. Most methods set the field of [`LoggingConfig`] of the same
/// name; unit, default and limits are documented there.
///
/// Of each setting the last of these that has it counts, whatever the order of the calls: the default, the
/// [`LoggingConfig`] that the builder was made from (a file's), the environment if [`read_env`](Self::read_env) is called, code.
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
    /// What holds unless the environment or code says otherwise: defaults, or a file's settings.
    base: LoggingConfig,
    reads_env: bool,
    /// What code sets, in the order of its calls.
    changes: Vec<Change>,
    predicate: Option<Predicate>,
    writer: Option<Box<dyn Write + Send>>,
}

type Change = Box<dyn Fn(&mut LoggingConfig) + Send + Sync>;

impl LoggingBuilder {
    /// Reads what code does not set from the environment when the log is set up: the variables of
    /// [`LoggingConfig::from_env`].
    pub fn read_env(mut self) -> Self {
        self.reads_env = true;
        self
    }

    /// Which events are logged.
    pub fn level(self, levels: impl Into<Levels>) -> Self {
        let levels = levels.into();
        self.set(move |config| config.level = levels.clone())
    }

    /// How a line looks.
    pub fn format(self, format: LogFormat) -> Self {
        self.set(move |config| config.format = format)
    }

    /// Whether lines of a traced operation have its ids.
    pub fn trace_enabled(self, enabled: bool) -> Self {
        self.set(move |config| config.trace_enabled = enabled)
    }

    /// Whether JSON lines have `target`.
    pub fn target(self, shown: bool) -> Self {
        self.set(move |config| config.target = shown)
    }

    /// Where lines go.
    pub fn output(self, output: LogOutput) -> Self {
        self.set(move |config| config.output = output)
    }

    /// Somewhere else for lines to go, such as a file, instead of `output`. It is called by one thread at a
    /// time, mostly with many whole lines at once, and flushed after each call. It never counts as a terminal.
    pub fn writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.writer = Some(Box::new(writer));
        self
    }

    /// Whether `text` has colours.
    pub fn color(self, color: Color) -> Self {
        self.set(move |config| config.color = color)
    }

    /// The `name` of bunyan lines.
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.set(move |config| config.name = Some(name.clone()))
    }

    /// Lines that may wait for the output; 0 writes each at once.
    pub fn queue_lines(self, lines: usize) -> Self {
        self.set(move |config| config.queue_lines = lines)
    }

    /// Bytes that may wait for the output.
    pub fn queue_bytes(self, bytes: usize) -> Self {
        self.set(move |config| config.queue_bytes = bytes)
    }

    /// How long the end of the program waits for the output.
    pub fn flush_timeout(self, timeout: Duration) -> Self {
        self.set(move |config| config.flush_timeout = timeout)
    }

    /// Longest value of a field.
    pub fn max_value_bytes(self, bytes: usize) -> Self {
        self.set(move |config| config.max_value_bytes = bytes)
    }

    /// One field of every line, such as `version`.
    pub fn field(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.set(move |config| drop(config.fields.insert(name.clone(), value.clone())))
    }

    /// Names of fields whose value is replaced by `[redacted]`.
    pub fn redact<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.set(move |config| config.redact = names.clone())
    }

    /// Names of fields of spans that travel with calls, see [`baggage`](crate::baggage).
    pub fn travelling<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.set(move |config| config.travelling = names.clone())
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

    /// The settings in effect.
    ///
    /// # Errors
    ///
    /// Names the field whose value makes no sense, or the variable if the environment gave it.
    pub fn config(&self) -> Result<LoggingConfig, ConfigError> {
        self.config_over(|name| std::env::var_os(name))
    }

    fn config_over(
        &self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<LoggingConfig, ConfigError> {
        let without_env = self.changed(self.base.clone());
        if !self.reads_env {
            return without_env.validate().map(|()| without_env);
        }
        let mut base = self.base.clone();
        base.apply(lookup)?;
        let config = self.changed(base);
        match config.validate() {
            Ok(()) => Ok(config),
            Err(error) if without_env.validate().as_ref() == Err(&error) => Err(error),
            Err(error) => Err(naming_the_variable(error)),
        }
    }

    fn changed(&self, mut config: LoggingConfig) -> LoggingConfig {
        self.changes.iter().for_each(|change| change(&mut config));
        config
    }

    fn set(mut self, change: impl Fn(&mut LoggingConfig) + Send + Sync + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Makes this the log of the whole program, until the guard is dropped.
    ///
    /// # Errors
    ///
    /// A setting is wrong, or the program has a global subscriber already. Nothing is changed
    /// then.
    pub fn init(self) -> Result<LoggingGuard, InitError> {
        let config = self.config()?;
        setup::init(&config, self.predicate, self.writer)
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
        let config = self.config()?;
        setup::layer(&config, self.predicate, self.writer)
    }
}

/// Settings of a file, under those of the environment and of code.
impl From<LoggingConfig> for LoggingBuilder {
    fn from(config: LoggingConfig) -> Self {
        Self {
            base: config,
            ..Self::default()
        }
    }
}

impl fmt::Debug for LoggingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggingBuilder")
            .field("config", &self.changed(self.base.clone()))
            .field("reads_env", &self.reads_env)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
