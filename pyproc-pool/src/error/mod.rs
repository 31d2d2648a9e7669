//! Why calls and starts fail.
//!
//! Each error's text names its cause, and the cause of that, in one line; the last output of a worker may follow.
//! `source()` is what lies below these: nothing, hence `r#source`, which thiserror does not take for a source.

use std::{fmt, io, sync::Arc, time::Duration};

use pyproc_protocol::{Codec, EncodeError, SessionError};
use pyproc_settings::{Invalid, debug_as_text};
use rustix::io::Errno;

pub use self::{
    remote::RemoteException,
    workers::{DeathCause, StartFailure, StartFailureCause, WorkerDeath},
};
use crate::text::{LONGEST, Printable, cut};

mod remote;
mod workers;

/// Why a call, or the start of a pool, failed.
///
/// [`kind`](Self::kind) distinguishes failures in code and in metrics, [`is_retryable`](Self::is_retryable) helps to
/// decide what to do next.
///
/// Its text names its cause, and the cause of that. `source()` is what lies below these, so a report that follows
/// sources repeats nothing. `Debug` is the kind and that text, so the output of a `main` that returns it, or of an
/// `unwrap`, is readable.
#[derive(thiserror::Error)]
pub enum Error {
    /// The call's deadline passed before its answer came.
    #[error(transparent)]
    Timeout(TimeoutError),
    /// The capacity is used and the queue is full. The function did not run.
    #[error(
        "the pool is full: {ready} workers are ready, {in_flight} calls in flight and {queued} waiting; \
         try again later, or raise max_queue, max_in_flight or workers"
    )]
    Overloaded {
        /// Workers that were ready for calls.
        ready: usize,
        /// Calls that were in flight.
        in_flight: usize,
        /// Calls that were queued.
        queued: usize,
    },
    /// The worker died while it had the call. The function may have run in part or completely.
    #[error(transparent)]
    WorkerDied(Arc<WorkerDeath>),
    /// No worker is left that could take the call. The function did not run.
    #[error("no worker is left, and starting one failed too often: {0}")]
    NoWorkers(Arc<StartFailure>),
    /// A worker did not start.
    #[error(transparent)]
    StartFailed(Arc<StartFailure>),
    /// The pool did not start, because the system refused to start a thread.
    #[error("the system gives the pool no thread: {0}")]
    NoThread(io::Error),
    /// The pool did not start, because the service or the whole system has reached its limit of open files.
    #[error("the system gives the pool no file descriptor: {0}; {MORE_FILES}")]
    NoDescriptor(io::Error),
    /// The worker violated the protocol while it had the call.
    #[error("worker {worker} broke the protocol: {}", Quoting(source))]
    Protocol {
        /// The worker's slot.
        worker: usize,
        /// What the worker did.
        r#source: Arc<ProtocolViolation>,
    },
    /// The worker answered with an error: the function raised it, or the worker did not run the function.
    #[error("{0}")]
    Remote(RemoteException),
    /// The pool is shutting down or is shut down.
    #[error("the pool is shut down")]
    ShutDown,
    /// The tokio runtime in which the pool was started has ended, and the workers with it.
    #[error(
        "the tokio runtime in which the pool was started has ended, and its workers with it; \
         start the pool in one that lives as long as the pool is used"
    )]
    RuntimeEnded,
    /// The input, or its headers, cannot be sent. The function did not run.
    #[error("{}: {}", unsendable(method, path), Quoting(source))]
    Encode {
        /// The function's name.
        method: String,
        /// Where in the input, such as `items[3].name`; empty when it is not about one field.
        path: String,
        /// What is wrong.
        r#source: EncodeError,
    },
    /// The result is not of the caller's type.
    #[error("{}: {}", unexpected(method, path), Quoting(source))]
    Decode {
        /// The function's name.
        method: String,
        /// Where in the result, such as `items[3].name`; empty when it is not about one field.
        path: String,
        /// What is wrong.
        r#source: DecodeError,
    },
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why a result could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is JSON, but not of the expected type.
    #[error(transparent)]
    Json(serde_json::Error),
    /// It is MessagePack, but not of the expected type.
    #[cfg(feature = "msgpack")]
    #[error("{0}")]
    MessagePack(rmp_serde::decode::Error),
    /// It is in an encoding that was not asked for.
    #[error("it is {}", encoding(.codec))]
    Codec {
        /// The encoding that the worker chose.
        codec: Codec,
    },
}

fn encoding(codec: &Codec) -> String {
    match codec {
        Codec::Json => "JSON: ask for it with `call`".into(),
        Codec::MessagePack => {
            "MessagePack: ask for it with `call`, and the feature `msgpack`".into()
        }
        Codec::Raw => "raw bytes: ask for them with `call_bytes`".into(),
        other => format!("of an encoding that is not known here: {other:?}"),
    }
}

/// The kinds of [`Error`], as a closed set for metrics and decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A deadline passed.
    Timeout,
    /// The pool is full.
    Overloaded,
    /// The worker died, or none is left.
    WorkerUnavailable,
    /// A worker, or the pool itself, did not start.
    StartFailed,
    /// A worker was not ready within `start_timeout`.
    StartTimeout,
    /// The worker violated the protocol.
    Protocol,
    /// The function raised an exception.
    FunctionError,
    /// The input does not fit the function. The worker found that before the function ran, or the function raised it.
    InvalidRequest,
    /// The worker has no function of that name, or the function raised this error.
    NotFound,
    /// The pool is shut down.
    ShutDown,
    /// The input cannot be sent.
    Encode,
    /// The result is not of the expected type.
    Decode,
    /// A setting is wrong.
    Config,
}

impl ErrorKind {
    /// The kind in snake case, for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::WorkerUnavailable => "worker_unavailable",
            Self::StartFailed => "start_failed",
            Self::StartTimeout => "start_timeout",
            Self::Protocol => "protocol",
            Self::FunctionError => "function_error",
            Self::InvalidRequest => "invalid_request",
            Self::NotFound => "not_found",
            Self::ShutDown => "shut_down",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), bounded(self))
    }
}

impl Error {
    /// Which kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Overloaded { .. } => ErrorKind::Overloaded,
            Self::WorkerDied(_) | Self::NoWorkers(_) => ErrorKind::WorkerUnavailable,
            Self::StartFailed(failure) => failure.kind(),
            Self::NoThread(_) | Self::NoDescriptor(_) => ErrorKind::StartFailed,
            Self::Protocol { .. } => ErrorKind::Protocol,
            Self::Remote(exception) => exception.kind(),
            Self::ShutDown | Self::RuntimeEnded => ErrorKind::ShutDown,
            Self::Encode { .. } => ErrorKind::Encode,
            Self::Decode { .. } => ErrorKind::Decode,
            Self::Config(_) => ErrorKind::Config,
        }
    }

    /// The slot of the worker that had the call, if one had.
    pub fn worker(&self) -> Option<usize> {
        match self {
            Self::Timeout(timeout) => timeout.worker,
            Self::WorkerDied(death) => Some(death.worker),
            Self::Protocol { worker, .. } => Some(*worker),
            Self::Remote(exception) => Some(exception.worker),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later **and** a retry cannot run the function twice: the pool was
    /// full, or the deadline passed while the call was still queued.
    ///
    /// A call whose worker died is not retryable in this sense, because the function may have done its work. Retry it
    /// if that does no harm.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded { .. } => true,
            Self::Timeout(timeout) => timeout.worker.is_none(),
            _ => false,
        }
    }

    /// The text without the messages of encoders and decoders, which quote bodies.
    pub(crate) fn without_bodies(&self) -> String {
        match self {
            Self::Encode { method, path, .. } => unsendable(method, path),
            Self::Decode { method, path, .. } => unexpected(method, path),
            other => bounded(other),
        }
    }
}

/// A deadline passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeoutError {
    /// The function's name.
    pub method: String,
    /// The call's timeout.
    pub limit: Duration,
    /// Which setting set the limit.
    pub deadline: Deadline,
    /// The worker that had the call; `None` if it was still queued.
    pub worker: Option<usize>,
}

/// Which deadline a call had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deadline {
    /// The pool's `request_timeout`.
    Pool,
    /// The timeout given with the call.
    Call,
}

impl TimeoutError {
    /// The error of a call that was queued for the pool's `request_timeout`, for tests of code that handles errors. The
    /// other fields can be set.
    pub fn new(method: impl Into<String>, limit: Duration) -> Self {
        Self {
            method: method.into(),
            limit,
            deadline: Deadline::Pool,
            worker: None,
        }
    }
}

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = match self.deadline {
            Deadline::Pool => "the pool's request_timeout",
            Deadline::Call => "the timeout of this call",
        };
        write!(
            f,
            "no answer from `{}` within {setting} of {:?}",
            self.method, self.limit
        )?;
        match self.worker {
            Some(worker) => write!(f, "; worker {worker} has it still"),
            None => f.write_str("; no worker was free to take it"),
        }
    }
}

impl std::error::Error for TimeoutError {}

/// What a worker did that the protocol does not allow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// It sent something that is not an answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It answered an id that is not in flight: it was never used, or is answered already.
    #[error("the worker answered id {id}, which is not outstanding")]
    UnknownId {
        /// The id.
        id: u64,
    },
}

/// A wrong setting. Its `Debug` is its text, because that is what a `main` that returns it prints.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad setting `{field}`: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The field, or the environment variable.
    pub field: String,
    /// What is wrong, and which values are right.
    pub reason: String,
}

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

debug_as_text!(ConfigError);

impl From<Invalid> for ConfigError {
    fn from(invalid: Invalid) -> Self {
        Self::new(invalid.field, invalid.reason)
    }
}

/// What to do if the system has no file descriptor left.
const MORE_FILES: &str = "close what is open, or raise the limit of open files (ulimit -n)";

/// Whether the service or the whole system has reached its limit of open files.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

fn unsendable(method: &str, path: &str) -> String {
    format!("the input of `{method}` cannot be sent{}", at(path))
}

fn unexpected(method: &str, path: &str) -> String {
    let at = at(path);
    format!("the result of `{method}` is not what the caller expects{at}")
}

fn at(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!(" (at `{path}`)"),
    }
}

/// A text that may quote a worker, with a bounded length.
pub(crate) fn bounded(error: &dyn fmt::Display) -> String {
    let mut text = error.to_string();
    cut(&mut text, LONGEST);
    // Escapes make the text longer.
    let mut text = Printable(&text).to_string();
    cut(&mut text, LONGEST);
    text
}

/// A cause that may quote a worker, within a text of ours.
struct Quoting<'a, E>(&'a E);

impl<E: fmt::Display> fmt::Display for Quoting<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bounded(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_worker_has_a_bounded_length_also_where_it_is_escaped() {
        let text = bounded(&io::Error::other("\u{1b}".repeat(LONGEST)));
        assert!(text.starts_with("\\u001b") && text.ends_with("... (cut)"));
        assert!(text.len() < LONGEST + 20, "{}", text.len());
    }
}
