use std::{collections::BTreeMap, path::PathBuf, thread, time::Duration};

use pyproc_protocol::{DEFAULT_MAX_FRAME_SIZE, Version};
use serde::{Deserialize, Deserializer, Serialize};
use serde_path_to_error::Segment;

use crate::ConfigError;

mod debug;
mod env;
pub(crate) mod unknown;

pub(crate) use env::naming_the_variable;

const MAX_WORKERS: usize = 1024;

const MAX_SPIN: Duration = Duration::from_millis(1);

/// As many as the call table holds.
const MAX_CALLS: usize = 1 << 20;

/// All settings of a pool, with their defaults.
///
/// Reads from any serde format; durations are texts such as `"250ms"` or `"1m 30s"`, and a field that
/// does not exist is refused. [`from_env`](Self::from_env) reads the `PYPROC_*` variables.
///
/// ```
/// # use pyproc_pool::PoolConfig;
/// let mut json = serde_json::Deserializer::from_str(r#"{"workers": 2, "worker_script": "worker.py"}"#);
/// let config = PoolConfig::from_deserializer(&mut json)?;
/// assert_eq!((config.workers, config.max_in_flight), (2, 64));
///
/// let same = PoolConfig {
///     workers: 2,
///     worker_script: Some("worker.py".into()),
///     ..PoolConfig::default()
/// };
/// assert_eq!(config, same);
/// # Ok::<(), pyproc_pool::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Worker processes. Default: one for each core. At most 1,024. With `external_sockets`
    /// it has no meaning: there is one worker for each socket.
    pub workers: usize,
    /// Calls that one worker may have at a time. Default 64. The pool's capacity is
    /// `workers` times this.
    ///
    /// A worker runs plain functions one at a time, so a higher value gives no
    /// more parallelism; it lets short calls travel in batches. Of long calls no more than two
    /// are sent to a worker ahead; the others wait in the pool for whichever is free first.
    pub max_in_flight: usize,
    /// Calls that may wait beyond the capacity. Default 1,024. Further calls fail
    /// at once with [`Error::Overloaded`](crate::Error::Overloaded).
    pub max_queue: usize,
    /// The Python to run. Default `python3`, looked up in `PATH`. Name the one of a
    /// virtual environment in which `pyproc_worker` is installed. It may be a wrapper that runs Python as a child,
    /// such as a script with `uv run python "$@"`.
    pub python_exec: PathBuf,
    /// The script that exposes the functions and calls `run_worker()`. No default: either this
    /// or `external_sockets` must be set. A relative path starts at `working_dir`. `-m` with `args` such as
    /// `["shop.worker"]` runs a module of a package.
    pub worker_script: Option<PathBuf>,
    /// Arguments of the script. Default: none. `Debug` shows their number only.
    pub args: Vec<String>,
    /// Variables added to the environment of the workers, which otherwise is the
    /// service's own. Default: none. `Debug` shows the names only, as values are often secret;
    /// `Serialize` writes them.
    pub env: BTreeMap<String, String>,
    /// Directory in which workers run. Default: the service's own.
    pub working_dir: Option<PathBuf>,
    /// How long a worker may take from its start to its first answer, imports
    /// included. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub start_timeout: Duration,
    /// How long a call may take, waiting included, unless it sets its own limit. Default
    /// 30 s. When it passes, the caller gets an error; the worker's capacity is
    /// free again only when the worker has answered.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Directory in which the pool makes its own of mode 0700, with the sockets inside. Default:
    /// `XDG_RUNTIME_DIR`, else the temporary directory. Keep it short: the system
    /// limits the path of a socket to about 100 bytes.
    pub socket_dir: Option<PathBuf>,
    /// Largest request and largest answer in bytes. Default 10 MiB, at most 4 GiB − 1. Workers of ours are
    /// told; external ones must be configured alike.
    pub max_frame_size: usize,
    /// Sockets of workers that somebody else runs, such as a sidecar, instead of
    /// `worker_script`. Default: none.
    pub external_sockets: Vec<PathBuf>,
    /// Newest version of the protocol to agree on with workers. Default 2, at least 1. Version 1 is all JSON,
    /// which a person can read, but slower, and carries neither bytes nor deadlines.
    pub max_protocol_version: u32,
    /// How long a connection's task and an idle worker look again and again for the next message before they sleep.
    /// Default zero: not at all, but for up to 20 µs in a connection on tokio's multi-threaded runtime whose worker has eight
    /// calls or more. At most 1 ms; 50 µs is a good value.
    ///
    /// A process that sleeps takes some 5 to 50 µs to wake, often longer than the call itself. But a process that looks
    /// takes a core (on a current-thread runtime, other tasks get their turns between the looks): with fewer free
    /// cores than workers and callers everything gets slower. It gives the core up to whoever else wants it
    /// (`sched_yield`) and stops when looking catches nothing, so that idle pools use no processor time. Zero is what
    /// to use on fewer than four cores.
    #[serde(with = "humantime_serde")]
    pub spin: Duration,
    /// What happens after a worker's death.
    pub restart: RestartConfig,
    /// Where stdout and stderr of workers go.
    pub output: WorkerOutput,
    /// Whether records of Python's `logging`, and prints of our workers, come as events of target
    /// `pyproc::python` and `pyproc::output`, with the call that they belong to. Default: yes, if there is a
    /// `tracing` subscriber when the pool starts; not with [`WorkerOutput::Inherit`].
    pub python_logs: bool,
    /// Events a second that one worker may make, on average, of its stdout, of its stderr and of its log records,
    /// each with its own token bucket; a second's worth at once. An event counts once more for each KiB that it has, so that bytes
    /// are bounded, too. Default 10,000, at least 1. The number of events over the rate is logged once a second, and a
    /// worker that goes on writing line by line is throttled: it gets out some 50,000 lines a second.
    pub log_rate: u32,
    /// Level of the event that says how a call went, in the span of its caller. Default `debug`. Calls that failed or
    /// were slow have `warn`, unless this is `off`. Bodies are never in it.
    pub call_log: LogLevel,
    /// From which duration on a call that succeeded is slow. Default 10 s; zero means never.
    #[serde(with = "humantime_serde")]
    pub slow_call: Duration,
}

/// How a worker is brought back after its death.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartConfig {
    /// After how many failed starts in a row a worker is given up. Default 5; 0 means
    /// never. A worker that started and died later is always brought back, and an external
    /// one is never given up.
    pub max_attempts: u32,
    /// Wait before the first attempt. Default 100 ms. Each wait is shortened by a random part of up to a
    /// half, so that workers don't all start at the same moment.
    #[serde(with = "humantime_serde")]
    pub initial_backoff: Duration,
    /// The longest wait. Default 10 s. A worker that lived for that long starts over with
    /// the shortest.
    #[serde(with = "humantime_serde")]
    pub max_backoff: Duration,
    /// Factor by which each wait is longer than the one before. Default 2, at least 1.
    pub multiplier: f64,
}

/// Where stdout and stderr of workers go. The last 16 KiB are also kept for error
/// messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WorkerOutput {
    /// `Log` if there is a `tracing` subscriber when the pool starts, else `Inherit`, so that prints are seen in any
    /// case.
    #[default]
    Auto,
    /// To the service's stderr, so that `print` never mixes with the service's stdout.
    /// Workers wait while nobody reads that.
    Inherit,
    /// Nowhere.
    Discard,
    /// Line by line into `tracing` events of target `pyproc::output` and level `INFO`. Lines of JSON as logging
    /// libraries write them have the level that they say; a traceback is one event of level `ERROR`.
    Log,
}

impl WorkerOutput {
    /// What is meant, where there is a subscriber or none.
    pub(crate) fn resolved(self, subscriber: bool) -> Self {
        match self {
            Self::Auto if subscriber => Self::Log,
            Self::Auto => Self::Inherit,
            chosen => chosen,
        }
    }
}

/// Level of an event, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().map_or(1, usize::from),
            max_in_flight: 64,
            max_queue: 1024,
            python_exec: "python3".into(),
            worker_script: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            working_dir: None,
            start_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            socket_dir: None,
            max_frame_size: DEFAULT_MAX_FRAME_SIZE,
            external_sockets: Vec::new(),
            max_protocol_version: Version::NEWEST.number(),
            spin: Duration::ZERO,
            restart: RestartConfig::default(),
            output: WorkerOutput::default(),
            python_logs: true,
            log_rate: 10_000,
            call_log: LogLevel::Debug,
            slow_call: Duration::from_secs(10),
        }
    }
}

impl Default for RestartConfig {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            multiplier: 2.0,
        }
    }
}

impl PoolConfig {
    /// Reads settings from any serde format and checks them. What is not there may come from the environment or from
    /// code.
    ///
    /// # Errors
    ///
    /// Names the field that is unknown, of the wrong type or out of range.
    pub fn from_deserializer<'de, D: Deserializer<'de>>(source: D) -> Result<Self, ConfigError> {
        let config: Self = serde_path_to_error::deserialize(source).map_err(|error| {
            let reason = match error.path().iter().next() {
                // Serde's own would repeat the value.
                Some(Segment::Map { key }) if key == "args" => "must be an array of texts".into(),
                Some(Segment::Map { key }) if key == "env" => "must map names to texts".into(),
                _ => error.inner().to_string(),
            };
            ConfigError::new(error.path().to_string(), reason)
        })?;
        config.check_values()?;
        Ok(config)
    }

    /// Reads settings from the environment: `PYPROC_` and the field's name in
    /// capitals, such as `PYPROC_MAX_IN_FLIGHT=32`, `PYPROC_START_TIMEOUT=5s`,
    /// `PYPROC_RESTART_MAX_ATTEMPTS=3` or `PYPROC_EXTERNAL_SOCKETS=/run/a.sock:/run/b.sock`. What is not set, or
    /// empty, has its default. `args` and `env` cannot be set this way.
    ///
    /// # Errors
    ///
    /// Names the variable whose value makes no sense.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::default().read_env()
    }

    /// These settings, such as a file's, with what the environment says over them, as [`from_env`](Self::from_env)
    /// reads it. What code sets over both, [`PoolBuilder`](crate::PoolBuilder) knows.
    ///
    /// # Errors
    ///
    /// Names the variable whose value makes no sense.
    pub fn read_env(mut self) -> Result<Self, ConfigError> {
        self.apply(|name| std::env::var_os(name))?;
        self.check_values().map_err(naming_the_variable)?;
        Ok(self)
    }

    /// Checks that every value makes sense. A pool does so itself before it starts.
    ///
    /// # Errors
    ///
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.worker_script.is_none() && self.external_sockets.is_empty() {
            let reason = "not set; name a Python script, or external_sockets";
            return Err(ConfigError::new("worker_script", reason));
        }
        self.check_values()
    }

    /// Checks what is set, which need not be all.
    fn check_values(&self) -> Result<(), ConfigError> {
        if self.worker_script.is_some() && !self.external_sockets.is_empty() {
            let reason = "set together with worker_script; choose one";
            return Err(ConfigError::new("external_sockets", reason));
        }
        in_range("workers", self.workers, 1, MAX_WORKERS)?;
        in_range("max_in_flight", self.max_in_flight, 1, 65_536)?;
        in_range("max_queue", self.max_queue, 0, MAX_CALLS)?;
        in_range(
            "max_frame_size",
            self.max_frame_size,
            1024,
            u32::MAX as usize,
        )?;
        self.check_capacity()?;
        let newest = Version::NEWEST.number() as usize;
        let version = self.max_protocol_version as usize;
        in_range("max_protocol_version", version, 1, newest)?;
        if self.spin > MAX_SPIN {
            let reason = format!("{:?} is longer than {MAX_SPIN:?}", self.spin);
            return Err(ConfigError::new("spin", reason));
        }
        in_range("log_rate", self.log_rate as usize, 1, u32::MAX as usize)?;
        if let Some(at) = self.args.iter().position(|arg| arg.contains('\0')) {
            return Err(ConfigError::new(format!("args[{at}]"), "has a zero byte"));
        }
        for (name, value) in &self.env {
            if name.contains('\0') || value.contains('\0') {
                let reason = format!("{name:?}, or its value, has a zero byte");
                return Err(ConfigError::new("env", reason));
            }
        }
        positive("start_timeout", self.start_timeout)?;
        positive("request_timeout", self.request_timeout)?;
        self.restart.validate()
    }

    fn check_capacity(&self) -> Result<(), ConfigError> {
        let workers = match self.external_sockets.len() {
            0 => self.workers,
            external => external,
        };
        in_range("external_sockets", workers, 1, MAX_WORKERS)?;
        let calls = workers * self.max_in_flight + self.max_queue;
        if calls > MAX_CALLS {
            let reason =
                format!("workers times this, and max_queue, are {calls}, over {MAX_CALLS}");
            return Err(ConfigError::new("max_in_flight", reason));
        }
        Ok(())
    }
}

impl RestartConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        positive("restart.initial_backoff", self.initial_backoff)?;
        if self.max_backoff < self.initial_backoff {
            let reason = "shorter than initial_backoff";
            return Err(ConfigError::new("restart.max_backoff", reason));
        }
        if !(self.multiplier >= 1.0 && self.multiplier.is_finite()) {
            let reason = format!("{} is not a number of at least 1", self.multiplier);
            return Err(ConfigError::new("restart.multiplier", reason));
        }
        Ok(())
    }

    /// How long to wait before the attempt that follows `failures` failures; `random`
    /// is between 0 and 1.
    pub(crate) fn backoff(&self, failures: u32, random: f64) -> Duration {
        let exponent = failures.saturating_sub(1).min(1000) as i32;
        let seconds = self.initial_backoff.as_secs_f64() * self.multiplier.powi(exponent);
        let longest = self.max_backoff.as_secs_f64();
        Duration::from_secs_f64(seconds.min(longest) * (1.0 - random / 2.0))
    }
}

fn in_range(field: &str, value: usize, min: usize, max: usize) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let reason = format!("{value} is not between {min} and {max}");
    Err(ConfigError::new(field, reason))
}

fn positive(field: &str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() {
        return Err(ConfigError::new(field, "must be longer than zero"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
