//! The settings of a pool, each declared once: field, default, variable, method of the builder and row of the README. In
//! [`unknown`] are the variables that nothing reads. Plain types, which every room may use.

use std::{collections::BTreeMap, path::PathBuf, thread, time::Duration};

use pyproc_protocol::{DEFAULT_MAX_FRAME_SIZE, Version};
use pyproc_settings::{
    Invalid, Layers, Settings, from_deserializer,
    kind::{duration, flag, longer_than_zero, number, optional, path, paths, word},
    read_declared, settings,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::ConfigError;

pub(crate) mod unknown;

const MAX_WORKERS: usize = 1024;

const MAX_SPIN: Duration = Duration::from_millis(1);

/// As many as the call table holds.
const MAX_CALLS: usize = 1 << 20;

settings! {
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
    pub struct PoolConfig with builder_methods! {
        /// Worker processes. Default: one for each core. At most 1,024. With `external_sockets`
        /// it has no meaning: there is one worker for each socket.
        #[variable("PYPROC_WORKERS" as number(1..=MAX_WORKERS))]
        #[builder(value)]
        pub workers: usize = thread::available_parallelism().map_or(1, usize::from),
        /// Calls that one worker may have at a time. Default 64. The pool's capacity is
        /// `workers` times this.
        ///
        /// A worker runs plain functions one at a time, so a higher value gives no
        /// more parallelism; it lets short calls travel in batches. Of long calls no more than two
        /// are sent to a worker ahead; the others wait in the pool for whichever is free first.
        #[variable("PYPROC_MAX_IN_FLIGHT" as number(1..=65_536))]
        #[builder(value)]
        pub max_in_flight: usize = 64,
        /// Calls that may wait beyond the capacity. Default 1,024. Further calls fail
        /// at once with [`Error::Overloaded`](crate::Error::Overloaded).
        #[variable("PYPROC_MAX_QUEUE" as number(0..=MAX_CALLS))]
        #[builder(value)]
        pub max_queue: usize = 1024,
        /// The Python to run. Default `python3`, looked up in `PATH`. Name the one of a
        /// virtual environment in which `pyproc_worker` is installed. It may be a wrapper that runs Python as a child,
        /// such as a script with `uv run python "$@"`. A relative path starts at the service's own directory.
        #[variable("PYPROC_PYTHON_EXEC" as path())]
        #[builder(into PathBuf)]
        pub python_exec: PathBuf = "python3".into(),
        /// The script that exposes the functions and calls `run_worker()`. No default: either this
        /// or `external_sockets` must be set. A relative path starts at `working_dir`. `-m` with `args` such as
        /// `["shop.worker"]` runs a module of a package.
        #[variable("PYPROC_WORKER_SCRIPT" as optional(path()))]
        #[builder(into PathBuf)]
        pub worker_script: Option<PathBuf> = None,
        /// Arguments of the script. Default: none. `Debug` shows their number only.
        #[builder(list String)]
        #[debug(Vec::len)]
        pub args: Vec<String> = Vec::new(),
        /// Variables added to the environment of the workers, which otherwise is the
        /// service's own. Default: none. `Debug` shows the names only, as values are often secret;
        /// `Serialize` writes them.
        #[check(no_zero_byte)]
        #[builder(entry env)]
        #[debug(names)]
        pub env: BTreeMap<String, String> = BTreeMap::new(),
        /// Directory in which workers run. Default: the service's own.
        #[variable("PYPROC_WORKING_DIR" as optional(path()))]
        #[builder(into PathBuf)]
        pub working_dir: Option<PathBuf> = None,
        /// How long a worker may take from its start to its first answer, imports
        /// included. Default 30 s.
        #[variable("PYPROC_START_TIMEOUT" as duration)]
        #[check(longer_than_zero)]
        #[builder(value)]
        #[serde(with = "humantime_serde")]
        pub start_timeout: Duration = Duration::from_secs(30),
        /// How long a call may take, waiting included, unless it sets its own limit. Default
        /// 30 s. When it passes, the caller gets an error; the worker's capacity is
        /// free again only when the worker has answered.
        #[variable("PYPROC_REQUEST_TIMEOUT" as duration)]
        #[check(longer_than_zero)]
        #[builder(value)]
        #[serde(with = "humantime_serde")]
        pub request_timeout: Duration = Duration::from_secs(30),
        /// Directory in which the pool makes its own of mode 0700, with the sockets inside. Default:
        /// `XDG_RUNTIME_DIR`, else the temporary directory. Keep it short: the system
        /// limits the path of a socket to about 100 bytes.
        #[variable("PYPROC_SOCKET_DIR" as optional(path()))]
        #[builder(into PathBuf)]
        pub socket_dir: Option<PathBuf> = None,
        /// Largest request and largest answer in bytes. Default 10 MiB, at least 1 KiB, at most 4 GiB − 1. The pool passes the
        /// limit to the workers that it starts; external ones must be configured alike (`PYPROC_MAX_FRAME_SIZE`).
        #[variable("PYPROC_MAX_FRAME_SIZE" as number(1024..=u32::MAX as usize))]
        #[builder(value)]
        pub max_frame_size: usize = DEFAULT_MAX_FRAME_SIZE,
        /// Sockets of workers that somebody else runs, such as a sidecar, instead of
        /// `worker_script`. Default: none. In the variable they have `:` between them.
        #[variable("PYPROC_EXTERNAL_SOCKETS" as paths())]
        #[builder(list PathBuf)]
        pub external_sockets: Vec<PathBuf> = Vec::new(),
        /// Newest version of the protocol to agree on with workers. Default 2, at least 1. Version 1 is all JSON,
        /// which a person can read, but slower, and carries neither bytes nor deadlines.
        #[variable("PYPROC_MAX_PROTOCOL_VERSION" as number(1..=Version::NEWEST.number()))]
        #[builder(value)]
        pub max_protocol_version: u32 = Version::NEWEST.number(),
        /// How long a connection's task and an idle worker poll for the next message before they sleep.
        /// Default zero: not at all, but for up to 20 µs in a connection on tokio's multi-threaded runtime whose worker has eight
        /// calls or more. At most 1 ms; 50 µs is a good value. It costs processor time: read the documentation of `PoolConfig::spin`.
        ///
        /// A process that sleeps takes some 5 to 50 µs to wake, often longer than the call itself. But a process that polls
        /// keeps a core busy (on a current-thread runtime, other tasks run between the polls): with fewer free
        /// cores than workers and callers everything gets slower. It yields the core to other processes
        /// (`sched_yield`) and stops when polling finds nothing, so that idle pools use no processor time. Use zero on
        /// fewer than four cores.
        #[variable("PYPROC_SPIN" as duration)]
        #[check(at_most_max_spin)]
        #[builder(value)]
        #[serde(with = "humantime_serde")]
        pub spin: Duration = Duration::ZERO,
        /// How a worker is restarted after its death.
        #[section(restart)]
        #[builder(value)]
        pub restart: RestartConfig = RestartConfig::default(),
        /// Where stdout and stderr of workers go: `log` turns them into events of `tracing`, `inherit` passes them to the
        /// service's stderr, `discard` drops them. Default [`auto`](WorkerOutput::Auto): `log` if there is a subscriber, else
        /// `inherit`.
        #[variable("PYPROC_OUTPUT" as word)]
        #[builder(value)]
        pub output: WorkerOutput = WorkerOutput::default(),
        /// Whether records of Python's `logging`, and prints of our workers, come as events of target
        /// `pyproc::python` and `pyproc::output`, with the call that they belong to. Default: yes, if there is a
        /// `tracing` subscriber when the pool starts; not with [`WorkerOutput::Inherit`].
        #[variable("PYPROC_PYTHON_LOGS" as flag)]
        #[builder(value)]
        pub python_logs: bool = true,
        /// Events a second that one worker may make, on average, of its stdout, of its stderr and of its log records,
        /// each with its own token bucket; a second's worth at once. An event counts once more for each KiB that it has, so that bytes
        /// are bounded, too. Default 10,000, at least 1. The number of events over the rate is logged once a second, and a
        /// worker that goes on writing line by line is throttled: it gets out some 50,000 lines a second.
        #[variable("PYPROC_LOG_RATE" as number(1..=u32::MAX))]
        #[builder(value)]
        pub log_rate: u32 = 10_000,
        /// Level of the event that says how a call went, in the span of its caller: `off`, `error`, `warn`, `info`, `debug` or
        /// `trace`. Default `debug`. Calls that failed or were slow have `warn`, unless this is `off`. Bodies are never in it.
        #[variable("PYPROC_CALL_LOG" as word)]
        #[builder(value)]
        pub call_log: LogLevel = LogLevel::Debug,
        /// From which duration on a call that succeeded is slow. Default 10 s; zero means never.
        #[variable("PYPROC_SLOW_CALL" as duration)]
        #[builder(value)]
        #[serde(with = "humantime_serde")]
        pub slow_call: Duration = Duration::from_secs(10),
    }
}

settings! {
    /// How a worker is restarted after its death.
    #[derive(Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct RestartConfig {
        /// Failed starts in a row after which the pool stops restarting a worker. Default 5; 0 means
        /// never. A worker that started and died later is always restarted, and the pool never stops trying an external
        /// one.
        #[variable("PYPROC_RESTART_MAX_ATTEMPTS" as number(0..=u32::MAX))]
        pub max_attempts: u32 = 5,
        /// Wait before the first attempt. Default 100 ms. Each wait is shortened by a random part of up to a
        /// half, so that workers don't all start at the same moment.
        #[variable("PYPROC_RESTART_INITIAL_BACKOFF" as duration)]
        #[check(longer_than_zero)]
        #[serde(with = "humantime_serde")]
        pub initial_backoff: Duration = Duration::from_millis(100),
        /// The longest wait. Default 10 s. A worker that lived for that long starts over with
        /// the shortest.
        #[variable("PYPROC_RESTART_MAX_BACKOFF" as duration)]
        #[serde(with = "humantime_serde")]
        pub max_backoff: Duration = Duration::from_secs(10),
        /// Factor by which each wait is longer than the one before. Default 2, at least 1.
        #[variable("PYPROC_RESTART_MULTIPLIER" as factor)]
        #[check(is_factor)]
        pub multiplier: f64 = 2.0,
    }
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

impl PoolConfig {
    /// Reads settings from any serde format and checks them. What is not there may come from the environment or from
    /// code.
    ///
    /// # Errors
    ///
    /// Names the field that is unknown, of the wrong type or out of range.
    pub fn from_deserializer<'de, D: Deserializer<'de>>(source: D) -> Result<Self, ConfigError> {
        // Serde's own reasons would repeat the value.
        let secret = |field: &str| match field.split(['.', '[']).next() {
            Some("args") => Some("must be an array of texts"),
            Some("env") => Some("must map names to texts"),
            _ => None,
        };
        let config: Self = from_deserializer(source, secret)?;
        config.check_what_is_set()?;
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
    pub fn read_env(self) -> Result<Self, ConfigError> {
        let settings = Layers::from(self).read_env();
        let lookup = |name: &str| std::env::var_os(name);
        Ok(settings.in_effect(read_declared, Self::check_what_is_set, lookup)?)
    }

    /// Checks that every value makes sense. A pool does so itself before it starts.
    ///
    /// # Errors
    ///
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Ok(self.check()?)
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.worker_script.is_none() && self.external_sockets.is_empty() {
            let reason = "not set; name a Python script, or external_sockets";
            return Err(Invalid::new("worker_script", reason));
        }
        self.check_what_is_set()
    }

    /// A file, or the environment, may leave the script to others.
    pub(crate) fn check_what_is_set(&self) -> Result<(), Invalid> {
        if self.worker_script.is_some() && !self.external_sockets.is_empty() {
            let reason = "set together with worker_script; choose one";
            return Err(Invalid::new("external_sockets", reason));
        }
        self.check_values()?;
        self.check_capacity()?;
        if let Some(at) = self.args.iter().position(|arg| arg.contains('\0')) {
            return Err(Invalid::new(format!("args[{at}]"), "has a zero byte"));
        }
        if self.restart.max_backoff < self.restart.initial_backoff {
            let reason = "shorter than initial_backoff";
            return Err(Invalid::new("restart.max_backoff", reason));
        }
        Ok(())
    }

    fn check_capacity(&self) -> Result<(), Invalid> {
        let workers = match self.external_sockets.len() {
            0 => self.workers,
            external => external,
        };
        if workers > MAX_WORKERS {
            let reason = format!("{workers} is not between 1 and {MAX_WORKERS}");
            return Err(Invalid::new("external_sockets", reason));
        }
        let calls = workers * self.max_in_flight + self.max_queue;
        if calls > MAX_CALLS {
            let reason =
                format!("workers times this, and max_queue, are {calls}, over {MAX_CALLS}");
            return Err(Invalid::new("max_in_flight", reason));
        }
        Ok(())
    }
}

impl RestartConfig {
    /// How long to wait before the attempt that follows `failures` failures; `random`
    /// is between 0 and 1.
    pub(crate) fn backoff(&self, failures: u32, random: f64) -> Duration {
        let exponent = failures.saturating_sub(1).min(1000) as i32;
        let seconds = self.initial_backoff.as_secs_f64() * self.multiplier.powi(exponent);
        let longest = self.max_backoff.as_secs_f64();
        let pause = seconds.min(longest) * (1.0 - random / 2.0);
        // The longest `Duration` becomes a number of seconds that is too long for one.
        Duration::try_from_secs_f64(pause).unwrap_or(self.max_backoff)
    }
}

fn at_most_max_spin(value: &Duration) -> Result<(), String> {
    match *value > MAX_SPIN {
        true => Err(format!("{value:?} is longer than {MAX_SPIN:?}")),
        false => Ok(()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let number = text.parse();
    number.map_err(|_| format!("{text:?}: write a number of at least 1"))
}

fn is_factor(value: &f64) -> Result<(), String> {
    match *value >= 1.0 && value.is_finite() {
        true => Ok(()),
        false => Err(format!("{value} is not a number of at least 1")),
    }
}

fn no_zero_byte(env: &BTreeMap<String, String>) -> Result<(), String> {
    let mut env = env.iter();
    match env.find(|(name, value)| name.contains('\0') || value.contains('\0')) {
        Some((name, _)) => Err(format!("{name:?}, or its value, has a zero byte")),
        None => Ok(()),
    }
}

fn names(env: &BTreeMap<String, String>) -> Vec<&String> {
    env.keys().collect()
}

#[cfg(test)]
mod tests;
