use std::{ffi::OsString, fmt, io::Write, sync::Arc, time::Duration};

use pyproc_settings::Layers;
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;

use crate::{
    Color, ConfigError, InitError, Levels, LogFormat, LogOutput, LoggingConfig, LoggingGuard,
    LoggingLayer, config::builder_methods, format::Predicate, setup,
};

/// Sets up the log step by step. Most methods set the field of [`LoggingConfig`] of the same
/// name, whose documentation they have.
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
    settings: Layers<LoggingConfig>,
    predicate: Option<Predicate>,
    writer: Option<Box<dyn Write + Send>>,
}

impl LoggingBuilder {
    builder_methods!();

    /// Reads what code does not set from the environment when the log is set up: the variables of
    /// [`LoggingConfig::from_env`].
    pub fn read_env(mut self) -> Self {
        self.settings = self.settings.read_env();
        self
    }

    /// Somewhere else for lines to go, such as a file, instead of `output`. It is called by one thread at a
    /// time, mostly with many whole lines at once, and flushed after each call. It never counts as a terminal.
    pub fn writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.writer = Some(Box::new(writer));
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
        let (apply, check) = (LoggingConfig::apply, LoggingConfig::check);
        Ok(self.settings.in_effect(apply, check, lookup)?)
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
            settings: config.into(),
            ..Self::default()
        }
    }
}

impl fmt::Debug for LoggingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggingBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
