//! How a worker ended, and why one did not start.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use pyproc_protocol::SessionError;

use super::{MORE_FILES, is_out_of_descriptors};
use crate::{ErrorKind, text::Printable};

/// How a worker ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct WorkerDeath {
    /// The worker's slot.
    pub worker: usize,
    /// Its process id; `None` for an external worker.
    pub pid: Option<u32>,
    /// The process id of the wrapper that the pool started, such as `uv run`, if it runs Python as a child. The status
    /// in `cause` is the wrapper's.
    pub wrapper: Option<u32>,
    /// What ended it.
    pub cause: DeathCause,
    /// The last bytes of its stdout and stderr, at most 16 KiB.
    pub output: String,
}

const STATUS_LOST: &str = "its exit status is lost, as the service ignores SIGCHLD or reaps processes that are not its own";

/// What ended a worker.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeathCause {
    /// The process ended, by itself or by a signal.
    Exited(ExitStatus),
    /// The process ended, and its status is not known: the service ignores SIGCHLD, or reaps processes that are not
    /// its own.
    StatusLost,
    /// It closed its connection, and was killed if it was ours to kill.
    Disconnected,
    /// Its connection failed, and it was killed if it was ours to kill.
    Connection(io::Error),
    /// A reload replaced it, and killed it because it did not finish its calls in time.
    Replaced,
}

impl WorkerDeath {
    /// A death of which only this is known, for tests of code that handles errors. The other fields can be set.
    pub fn new(worker: usize, cause: DeathCause) -> Self {
        Self {
            worker,
            pid: None,
            wrapper: None,
            cause,
            output: String::new(),
        }
    }
}

/// In a few words, such as `exit status: 3` or `signal: 9 (SIGKILL)`.
impl fmt::Display for DeathCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => Status(*status).fmt(f),
            Self::StatusLost => f.write_str("unknown exit status"),
            Self::Disconnected => f.write_str("connection closed"),
            Self::Connection(error) => write!(f, "connection lost: {error}"),
            Self::Replaced => f.write_str("replaced"),
        }
    }
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.worker)?;
        if let Some(pid) = self.pid {
            write!(f, " (pid {pid})")?;
        }
        match &self.cause {
            DeathCause::Exited(status) => {
                f.write_str(" died")?;
                if let Some(wrapper) = self.wrapper {
                    write!(f, "; its wrapper (pid {wrapper}) ended")?;
                }
                write!(f, ": {}", Status(*status))?;
            }
            DeathCause::StatusLost => write!(f, " died; {STATUS_LOST}")?,
            DeathCause::Disconnected => f.write_str(" closed its connection")?,
            DeathCause::Connection(error) => write!(f, " lost its connection: {error}")?,
            DeathCause::Replaced => f.write_str(" was replaced and did not finish in time")?,
        }
        write_output(f, &self.output)
    }
}

impl std::error::Error for WorkerDeath {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            DeathCause::Connection(error) => error.source(),
            _ => None,
        }
    }
}

/// Why a worker did not start.
#[derive(Debug)]
#[non_exhaustive]
pub struct StartFailure {
    /// The worker's slot.
    pub worker: usize,
    /// What went wrong.
    pub cause: StartFailureCause,
    /// The last bytes of its stdout and stderr, at most 16 KiB.
    pub output: String,
}

/// What went wrong at a worker's start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartFailureCause {
    /// The interpreter could not be run.
    #[error("cannot run {program:?}: {source}{}", unrunnable(source))]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The error of the system.
        r#source: io::Error,
    },
    /// The process ended before it answered.
    #[error("the process ended before it answered: {}", Status(*.0))]
    Exited(ExitStatus),
    /// The script ended without an error, before anything listened on the worker's socket.
    #[error(
        "the script came to its end without serving: it never calls run_worker(), or only under a condition that does \
         not hold"
    )]
    NeverServed,
    /// The interpreter has no package `pyproc_worker`.
    #[error(
        "{python:?} has no package pyproc_worker; install it there: {} -m pip install pyproc-worker",
        Quoted(python)
    )]
    NoPackage {
        /// The interpreter that ran the script, or the wrapper that ran that.
        python: PathBuf,
    },
    /// The process ended before it answered, and its status is not known, as with [`DeathCause::StatusLost`].
    #[error("the process ended before it answered; {STATUS_LOST}")]
    StatusLost,
    /// It did not answer within `start_timeout`.
    #[error("{}", timed_out(socket, *limit, source.as_ref()))]
    Timeout {
        /// The socket's path.
        socket: PathBuf,
        /// The setting.
        limit: Duration,
        /// Why the last attempt to connect failed; `None` when it succeeded, and the worker did not answer the hello.
        r#source: Option<io::Error>,
    },
    /// Its socket could not be connected to.
    #[error("cannot connect to {socket:?}: {source}{}", unreachable(source))]
    Connect {
        /// The socket's path.
        socket: PathBuf,
        /// The error of the system.
        r#source: io::Error,
    },
    /// Another user listens on the socket.
    #[error("{socket:?} belongs to user {uid}, not to this service's user")]
    ForeignPeer {
        /// The socket's path.
        socket: PathBuf,
        /// The other user's id.
        uid: u32,
    },
    /// The worker closed the connection during the handshake.
    #[error(
        "the worker closed the connection during the handshake; one of another user does so \
         unless its PYPROC_ALLOWED_UIDS names the user of this service"
    )]
    Closed,
    /// The worker's part of the handshake is invalid.
    #[error("the handshake failed: {0}")]
    Handshake(SessionError),
}

/// What to do if a program cannot be run.
fn unrunnable(error: &io::Error) -> String {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match error.kind() {
        NotFound | NotADirectory | PermissionDenied => "; check python_exec and working_dir".into(),
        _ => more_files(error),
    }
}

/// What to do if a socket cannot be connected to.
fn unreachable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; a worker of another user lets this one connect if its PYPROC_SOCKET_MODE does, \
             such as 0660 for a group, and the directory can be entered"
                .into()
        }
        _ => more_files(error),
    }
}

fn more_files(error: &io::Error) -> String {
    match is_out_of_descriptors(error) {
        true => format!("; {MORE_FILES}"),
        false => String::new(),
    }
}

/// A path, quoted for a shell.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-~".contains(c);
        match path.chars().all(is_plain) {
            true => f.write_str(&path),
            false => write!(f, "'{}'", path.replace('\'', r"'\''")),
        }
    }
}

/// Prints an exit status, and the signal behind a shell's code.
struct Status(ExitStatus);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match self.0.code() {
            // A wrapper that runs Python as a child exits like this, too.
            Some(code @ 129..160) => write!(f, " (as a shell reports signal {})", code - 128),
            _ => Ok(()),
        }
    }
}

fn timed_out(socket: &Path, limit: Duration, last_error: Option<&io::Error>) -> String {
    let Some(error) = last_error else {
        return format!(
            "the worker listened on {socket:?}, but did not answer the pool's hello within start_timeout ({limit:?}): \
             it hangs, or it serves one connection at a time, as pyproc-worker 0.1 does, and another client has that"
        );
    };
    format!(
        "nothing listened on {socket:?} within start_timeout ({limit:?}): {error}; raise start_timeout if the worker \
         takes longer to import its modules or to load a model"
    )
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} did not start: {}", self.worker, self.cause)?;
        write_output(f, &self.output)
    }
}

impl StartFailure {
    /// The failure of a worker that printed nothing, for tests of code that handles errors. The other fields can be
    /// set.
    pub fn new(worker: usize, cause: StartFailureCause) -> Self {
        Self {
            worker,
            cause,
            output: String::new(),
        }
    }

    /// [`StartTimeout`](ErrorKind::StartTimeout) if the worker was not ready in time, else
    /// [`StartFailed`](ErrorKind::StartFailed).
    pub fn kind(&self) -> ErrorKind {
        match self.cause {
            StartFailureCause::Timeout { .. } => ErrorKind::StartTimeout,
            _ => ErrorKind::StartFailed,
        }
    }
}

impl std::error::Error for StartFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.cause)
    }
}

fn write_output(f: &mut fmt::Formatter<'_>, output: &str) -> fmt::Result {
    match output.trim_end() {
        "" => Ok(()),
        output => write!(f, "; its last output:\n{}", Printable(output)),
    }
}
