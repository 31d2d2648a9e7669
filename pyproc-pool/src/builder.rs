use std::{path::PathBuf, sync::Arc, time::Duration};

use pyproc_protocol::Headers;

use crate::{
    Error, LogLevel, Pool, PoolConfig, RestartConfig, WorkerOutput,
    observe::Observer,
    shared::{Attached, Carry},
};

/// Sets up a [`Pool`] step by step. Each method but [`observer`](Self::observer) and [`carry`](Self::carry) sets the
/// field of [`PoolConfig`] of the same name; unit, default and limits are documented there.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PoolBuilder {
    config: PoolConfig,
    attached: Attached,
}

impl PoolBuilder {
    /// Worker processes.
    pub fn workers(mut self, workers: usize) -> Self {
        self.config.workers = workers;
        self
    }

    /// Calls that one worker may have at a time.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.config.max_in_flight = calls;
        self
    }

    /// Calls that may wait beyond the capacity.
    pub fn max_queue(mut self, calls: usize) -> Self {
        self.config.max_queue = calls;
        self
    }

    /// The Python to run.
    pub fn python_exec(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.python_exec = path.into();
        self
    }

    /// The script that exposes the functions.
    pub fn worker_script(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.worker_script = Some(path.into());
        self
    }

    /// Arguments of the script.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.config.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// One variable for the environment of the workers.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.env.insert(name.into(), value.into());
        self
    }

    /// Directory in which workers run.
    pub fn working_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.working_dir = Some(path.into());
        self
    }

    /// How long a worker may take to start.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.config.start_timeout = timeout;
        self
    }

    /// How long a call may take.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = timeout;
        self
    }

    /// Directory in which the pool makes its own.
    pub fn socket_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.socket_dir = Some(path.into());
        self
    }

    /// Largest request and largest answer in bytes.
    pub fn max_frame_size(mut self, bytes: usize) -> Self {
        self.config.max_frame_size = bytes;
        self
    }

    /// Sockets of workers that somebody else runs.
    pub fn external_sockets<P: Into<PathBuf>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
    ) -> Self {
        self.config.external_sockets = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Newest version of the protocol to agree on with workers.
    pub fn max_protocol_version(mut self, version: u32) -> Self {
        self.config.max_protocol_version = version;
        self
    }

    /// How long to look for the next message before sleeping, on both sides. Read what it costs.
    pub fn spin(mut self, time: Duration) -> Self {
        self.config.spin = time;
        self
    }

    /// What happens after a worker's death.
    pub fn restart(mut self, restart: RestartConfig) -> Self {
        self.config.restart = restart;
        self
    }

    /// Where stdout and stderr of workers go.
    pub fn output(mut self, output: WorkerOutput) -> Self {
        self.config.output = output;
        self
    }

    /// Whether Python's log records come as `tracing` events.
    pub fn python_logs(mut self, wanted: bool) -> Self {
        self.config.python_logs = wanted;
        self
    }

    /// Events a second that one worker may make of what it writes.
    pub fn log_rate(mut self, events_per_second: u32) -> Self {
        self.config.log_rate = events_per_second;
        self
    }

    /// Level of the event that says how a call went.
    pub fn call_log(mut self, level: LogLevel) -> Self {
        self.config.call_log = level;
        self
    }

    /// From which duration on a call is slow.
    pub fn slow_call(mut self, duration: Duration) -> Self {
        self.config.slow_call = duration;
        self
    }

    /// Adds one who is told of each call and of what happens to workers. No setting of [`PoolConfig`]. Default:
    /// nobody.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.attached.observers.push(observer);
        self
    }

    /// Adds headers to each call, such as a request id, in the task of its caller and before observers do. No setting
    /// of [`PoolConfig`]. Default: none. A second `carry` replaces the first.
    ///
    /// ```
    /// # let builder = pyproc_pool::Pool::builder();
    /// let builder = builder.carry(|headers| {
    ///     headers.insert("tenant".into(), "acme".into());
    /// });
    /// ```
    pub fn carry(mut self, add: impl Fn(&mut Headers) + Send + Sync + 'static) -> Self {
        self.attached.carry = Carry(Some(Arc::new(add)));
        self
    }

    /// Starts the pool: [`Pool::start`] with these settings.
    ///
    /// # Errors
    ///
    /// Those of [`Pool::start`].
    pub async fn start(self) -> Result<Pool, Error> {
        Pool::start_with(self.config, self.attached).await
    }
}

/// Settings from a file or the environment, to be changed further.
impl From<PoolConfig> for PoolBuilder {
    fn from(config: PoolConfig) -> Self {
        Self {
            config,
            attached: Attached::default(),
        }
    }
}
