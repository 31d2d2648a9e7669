use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc, time::Duration};

use pyproc_protocol::Headers;

#[cfg(feature = "testing")]
use crate::transport::InProcess;
use crate::{
    ConfigError, Error, LogLevel, Pool, PoolConfig, RestartConfig, WorkerOutput,
    config::naming_the_variable,
    observe::Observer,
    shared::{Attached, HeaderInjector},
};

/// Sets up a [`Pool`] step by step. Methods set the field of [`PoolConfig`] of the same name; unit, default and limits are
/// documented there. [`read_env`](Self::read_env), [`observer`](Self::observer) and [`inject_headers`](Self::inject_headers) set no field.
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
#[derive(Clone, Default)]
#[must_use]
pub struct PoolBuilder {
    /// What holds unless the environment or code says otherwise: defaults, or a file's settings.
    base: PoolConfig,
    reads_env: bool,
    /// What code sets, in the order of its calls.
    changes: Vec<Change>,
    attached: Attached,
}

type Change = Arc<dyn Fn(&mut PoolConfig) + Send + Sync>;

impl PoolBuilder {
    /// Reads what code does not set from the environment when the pool starts: the variables of
    /// [`PoolConfig::from_env`].
    pub fn read_env(mut self) -> Self {
        self.reads_env = true;
        self
    }

    /// Worker processes.
    pub fn workers(self, workers: usize) -> Self {
        self.set(move |config| config.workers = workers)
    }

    /// Calls that one worker may have at a time.
    pub fn max_in_flight(self, calls: usize) -> Self {
        self.set(move |config| config.max_in_flight = calls)
    }

    /// Calls that may wait beyond the capacity.
    pub fn max_queue(self, calls: usize) -> Self {
        self.set(move |config| config.max_queue = calls)
    }

    /// The Python to run.
    pub fn python_exec(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.set(move |config| config.python_exec = path.clone())
    }

    /// The script that exposes the functions.
    pub fn worker_script(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.set(move |config| config.worker_script = Some(path.clone()))
    }

    /// Arguments of the script.
    pub fn args<A: Into<String>>(self, args: impl IntoIterator<Item = A>) -> Self {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        self.set(move |config| config.args = args.clone())
    }

    /// One variable for the environment of the workers.
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.set(move |config| drop(config.env.insert(name.clone(), value.clone())))
    }

    /// Directory in which workers run.
    pub fn working_dir(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.set(move |config| config.working_dir = Some(path.clone()))
    }

    /// How long a worker may take to start.
    pub fn start_timeout(self, timeout: Duration) -> Self {
        self.set(move |config| config.start_timeout = timeout)
    }

    /// How long a call may take.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        self.set(move |config| config.request_timeout = timeout)
    }

    /// Directory in which the pool makes its own.
    pub fn socket_dir(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.set(move |config| config.socket_dir = Some(path.clone()))
    }

    /// Largest request and largest answer in bytes.
    pub fn max_frame_size(self, bytes: usize) -> Self {
        self.set(move |config| config.max_frame_size = bytes)
    }

    /// Sockets of workers that somebody else runs.
    pub fn external_sockets<P: Into<PathBuf>>(self, paths: impl IntoIterator<Item = P>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
        self.set(move |config| config.external_sockets = paths.clone())
    }

    /// Newest version of the protocol to agree on with workers.
    pub fn max_protocol_version(self, version: u32) -> Self {
        self.set(move |config| config.max_protocol_version = version)
    }

    /// How long to look for the next message before sleeping, on both sides. Read what it costs.
    pub fn spin(self, time: Duration) -> Self {
        self.set(move |config| config.spin = time)
    }

    /// What happens after a worker's death.
    pub fn restart(self, restart: RestartConfig) -> Self {
        self.set(move |config| config.restart = restart.clone())
    }

    /// Where stdout and stderr of workers go.
    pub fn output(self, output: WorkerOutput) -> Self {
        self.set(move |config| config.output = output)
    }

    /// Whether Python's log records come as `tracing` events.
    pub fn python_logs(self, wanted: bool) -> Self {
        self.set(move |config| config.python_logs = wanted)
    }

    /// Events a second that one worker may make of what it writes.
    pub fn log_rate(self, events_per_second: u32) -> Self {
        self.set(move |config| config.log_rate = events_per_second)
    }

    /// Level of the event that says how a call went.
    pub fn call_log(self, level: LogLevel) -> Self {
        self.set(move |config| config.call_log = level)
    }

    /// From which duration on a call is slow.
    pub fn slow_call(self, duration: Duration) -> Self {
        self.set(move |config| config.slow_call = duration)
    }

    /// Adds one who is told of each call and of what happens to workers. No setting of [`PoolConfig`]. Default:
    /// nobody.
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

    fn changed(&self, mut config: PoolConfig) -> PoolConfig {
        self.changes.iter().for_each(|change| change(&mut config));
        config
    }

    fn set(mut self, change: impl Fn(&mut PoolConfig) + Send + Sync + 'static) -> Self {
        self.changes.push(Arc::new(change));
        self
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("config", &self.changed(self.base.clone()))
            .field("reads_env", &self.reads_env)
            .field("attached", &self.attached)
            .finish_non_exhaustive()
    }
}

/// Settings of a file, under those of the environment and of code.
impl From<PoolConfig> for PoolBuilder {
    fn from(config: PoolConfig) -> Self {
        Self {
            base: config,
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
