use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use pyproc_protocol::Headers;
use pyproc_settings::{Layers, read_declared};

#[cfg(feature = "testing")]
use crate::transport::InProcess;
use crate::{
    ConfigError, Error, LogLevel, Pool, PoolConfig, RestartConfig, WorkerOutput,
    config::builder_methods,
    observe::Observer,
    shared::{Attached, HeaderInjector},
};

/// Sets up a [`Pool`] step by step. Methods set the field of [`PoolConfig`] of the same name, whose documentation they
/// have. [`read_env`](Self::read_env), [`observer`](Self::observer) and [`inject_headers`](Self::inject_headers) set no field.
///
/// Of each setting the last of these that has it counts, whatever the order of the calls: the default, the
/// [`PoolConfig`] that the builder was made from (a file's), the environment, code.
///
/// ```
/// # use pyproc_pool::{PoolBuilder, PoolConfig};
/// let mut file = serde_json::Deserializer::from_str(r#"{"workers": 2, "worker_script": "worker.py"}"#);
/// let builder = PoolBuilder::from(PoolConfig::from_deserializer(&mut file)?)
///     .max_queue(16) // holds whatever PYPROC_MAX_QUEUE says
///     .read_env();
/// assert_eq!(builder.config()?.max_queue, 16);
/// # Ok::<(), pyproc_pool::ConfigError>(())
/// ```
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct PoolBuilder {
    settings: Layers<PoolConfig>,
    attached: Attached,
}

impl PoolBuilder {
    builder_methods!();

    /// Reads what code does not set from the environment when the pool starts: the variables of
    /// [`PoolConfig::from_env`].
    pub fn read_env(mut self) -> Self {
        self.settings = self.settings.read_env();
        self
    }

    /// Adds an observer, which is notified of each call and of events of the workers. No setting of [`PoolConfig`].
    /// Default: none.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.attached.observers.push(observer);
        self
    }

    /// Adds headers to each call, such as a request id, in the task of its caller and before observers do. No setting
    /// of [`PoolConfig`]. Default: none. A second `inject_headers` replaces the first.
    ///
    /// ```
    /// # let builder = pyproc_pool::Pool::builder();
    /// let builder = builder.inject_headers(|headers| {
    ///     headers.insert("tenant".into(), "acme".into());
    /// });
    /// ```
    pub fn inject_headers(mut self, add: impl Fn(&mut Headers) + Send + Sync + 'static) -> Self {
        self.attached.inject_headers = HeaderInjector(Some(Arc::new(add)));
        self
    }

    /// No setting names workers: [`in_process`](Self::in_process) does.
    #[cfg(feature = "testing")]
    pub(crate) fn without_processes(self) -> Self {
        // A pool wants some script; this one is never run.
        self.external_sockets([""; 0]).worker_script("in-process")
    }

    /// Takes workers of this process.
    #[cfg(feature = "testing")]
    pub(crate) fn in_process(mut self, workers: InProcess) -> Self {
        self.attached.in_process = Some(workers);
        self
    }

    /// Starts the pool: [`Pool::start`] with the settings in effect.
    ///
    /// # Errors
    ///
    /// Those of [`config`](Self::config) and [`Pool::start`].
    pub async fn start(self) -> Result<Pool, Error> {
        Pool::start_with(self.config()?, self.attached).await
    }

    /// The settings in effect.
    ///
    /// # Errors
    ///
    /// Names the field whose value makes no sense, or the variable if the environment gave it.
    pub fn config(&self) -> Result<PoolConfig, ConfigError> {
        self.config_over(|name| std::env::var_os(name))
    }

    fn config_over(
        &self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<PoolConfig, ConfigError> {
        let settings = &self.settings;
        Ok(settings.in_effect(read_declared, PoolConfig::check, lookup)?)
    }
}

/// Settings of a file, under those of the environment and of code.
impl From<PoolConfig> for PoolBuilder {
    fn from(config: PoolConfig) -> Self {
        Self {
            settings: config.into(),
            ..Self::default()
        }
    }
}

impl Pool {
    /// Settings step by step, with defaults for the others.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }
}

#[cfg(test)]
mod tests;
