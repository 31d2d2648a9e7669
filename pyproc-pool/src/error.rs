use std::{fmt, io, sync::Arc, time::Duration};

use pyproc_protocol::{EncodeError, SessionError, v2::Codec};

pub use self::workers::{DeathCause, StartFailure, StartFailureCause, WorkerDeath};
use crate::{
    lines::{LONGEST, cut},
    printable::Printable,
};

mod workers;

/// Why a call, or the start of a pool, failed.
///
/// [`kind`](Self::kind) is for telling failures apart in code and in metrics,
/// [`is_retryable`](Self::is_retryable) for deciding what to do next.
///
/// Its `Debug` is the text with all causes, so that a `main` that returns it, or an `unwrap`, says
/// what went wrong.
#[derive(thiserror::Error)]
pub enum Error {
    /// The call's deadline passed before its answer came.
    #[error(transparent)]
    Timeout(TimeoutError),
    /// The pool has as many calls as it takes. The function did not run.
    #[error(
        "the pool is full: {ready} workers are ready, {in_flight} calls in flight and {queued} waiting; \
         try again later, or raise max_queue, max_in_flight or workers"
    )]
    Overloaded {
        /// Workers that were ready for calls.
        ready: usize,
        /// Calls that workers had.
        in_flight: usize,
        /// Calls that waited for a worker.
        queued: usize,
    },
    /// The worker died while it had the call. The function may have run, in part or
    /// whole.
    #[error(transparent)]
    WorkerDied(Arc<WorkerDeath>),
    /// No worker is left that could take the call. The function did not run.
    #[error("no worker is left, and starting one failed too often")]
    NoWorkers(#[source] Arc<StartFailure>),
    /// A worker did not start.
    #[error(transparent)]
    StartFailed(Arc<StartFailure>),
    /// The pool did not start, as the system gave it no thread.
    #[error("the system gives the pool no thread")]
    NoThread(#[source] io::Error),
    /// The worker broke the protocol while it had the call.
    #[error("worker {worker} broke the protocol")]
    Protocol {
        /// The worker's slot.
        worker: usize,
        /// What it did.
        source: Arc<ProtocolViolation>,
    },
    /// The function raised an exception, or the worker refused the request.
    #[error("{0}")]
    Remote(RemoteException),
    /// The pool is shutting down or is shut down.
    #[error("the pool is shut down")]
    ShutDown,
    /// The input, or its headers, cannot be sent. The function did not run.
    #[error("the input of `{method}` cannot be sent{}", at(path))]
    Encode {
        /// The function's name.
        method: String,
        /// Where in the input, such as `items[3].name`; empty when it is not about one field.
        path: String,
        /// What is wrong.
        source: EncodeError,
    },
    /// The function returned something else than the caller's type.
    #[error("the result of `{method}` is not what the caller expects{}", at(path))]
    Decode {
        /// The function's name.
        method: String,
        /// Where in the result, such as `items[3].name`; empty when it is not about one field.
        path: String,
        /// What is wrong.
        source: DecodeError,
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
    #[error(transparent)]
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
    /// The worker broke the protocol.
    Protocol,
    /// The function raised.
    Remote,
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
            Self::Protocol => "protocol",
            Self::Remote => "remote",
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
        write!(f, "{}: {}", self.kind(), chain(self))
    }
}

impl Error {
    /// Which kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Overloaded { .. } => ErrorKind::Overloaded,
            Self::WorkerDied(_) | Self::NoWorkers(_) => ErrorKind::WorkerUnavailable,
            Self::StartFailed(_) | Self::NoThread(_) => ErrorKind::StartFailed,
            Self::Protocol { .. } => ErrorKind::Protocol,
            Self::Remote(_) => ErrorKind::Remote,
            Self::ShutDown => ErrorKind::ShutDown,
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

    /// Whether the same call, made again a little later, may succeed **and** cannot run the
    /// function twice: the pool was full, or the deadline passed while the call still waited for a worker.
    ///
    /// A call whose worker died isn't retryable in this sense: the function may have
    /// done its work. Retry it if that does no harm.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded { .. } => true,
            Self::Timeout(timeout) => timeout.worker.is_none(),
            _ => false,
        }
    }
}

/// A deadline passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeoutError {
    /// The function's name.
    pub method: String,
    /// The time that the call had.
    pub limit: Duration,
    /// Who set the limit.
    pub deadline: Deadline,
    /// The worker that had the call; `None` when it still waited for one.
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

/// What a function raised, or why the worker refused the request. Its text says which.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteException {
    /// The function's name.
    pub method: String,
    /// The worker's slot.
    pub worker: usize,
    /// Qualified name of the exception's type, such as `KeyError`; `None` from an old worker,
    /// which does not say.
    pub type_name: Option<String>,
    /// The exception's text.
    pub message: String,
    /// The formatted traceback; `None` from an old worker.
    pub traceback: Option<String>,
    /// The worker says that the same call may succeed when it is made again. Whether the function has run in part,
    /// it does not say.
    pub retryable: bool,
}

impl fmt::Display for RemoteException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, message) = (&self.method, Printable(&self.message));
        if self.is_refusal() {
            return write!(f, "the worker refused `{method}`: {message}");
        }
        let name = Printable(self.type_name.as_deref().unwrap_or("an error"));
        write!(f, "`{method}` raised {name}: {message}")
    }
}

impl RemoteException {
    /// Whether the worker says that the function did not run.
    fn is_refusal(&self) -> bool {
        match self.type_name.as_deref() {
            Some(name) => REFUSALS.contains(&name),
            // An old worker has but these words for it.
            None => self.message == format!("Method '{}' not found", self.method),
        }
    }
}

/// Types of exceptions with which a worker refuses a request: the function did not run.
const REFUSALS: [&str; 2] = [
    "pyproc_worker.MethodNotFound",
    "pyproc_worker.InvalidRequest",
];

/// What a worker did that the protocol does not allow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// It sent something that is no answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It answered an id that is not outstanding: never asked, or answered before.
    #[error("the worker answered id {id}, which is not outstanding")]
    UnknownId {
        /// The id.
        id: u64,
    },
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad setting `{field}`: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The field, or the environment variable.
    pub field: String,
    /// What is wrong, and what would be right.
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

fn at(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!(" (at `{path}`)"),
    }
}

/// An error and all that caused it, which may quote a worker, as one text of bounded length.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    cut(&mut text, LONGEST);
    // What is escaped is longer.
    let mut text = Printable(&text).to_string();
    cut(&mut text, LONGEST);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_whether_the_function_raised_or_the_worker_refused_the_request() {
        for (type_name, message, text) in [
            (
                Some("pyproc_worker.MethodNotFound"),
                "no",
                "the worker refused `f`: no",
            ),
            (
                Some("pyproc_worker.InvalidRequest"),
                "no",
                "the worker refused `f`: no",
            ),
            (Some("KeyError"), "no", "`f` raised KeyError: no"),
            (
                Some("LookupError"),
                "Method 'f' not found",
                "`f` raised LookupError: Method 'f' not found",
            ),
            (
                None,
                "Method 'f' not found",
                "the worker refused `f`: Method 'f' not found",
            ),
            (
                None,
                "Method 'g' not found",
                "`f` raised an error: Method 'g' not found",
            ),
        ] {
            let exception = RemoteException {
                method: "f".into(),
                worker: 0,
                type_name: type_name.map(Into::into),
                message: message.into(),
                traceback: None,
                retryable: false,
            };
            assert_eq!(exception.to_string(), text);
        }
    }

    #[test]
    fn what_a_worker_says_has_a_bounded_length_also_where_it_is_escaped() {
        let text = chain(&io::Error::other("\u{1b}".repeat(LONGEST)));
        assert!(text.starts_with("\\u001b") && text.ends_with("... (cut)"));
        assert!(text.len() < LONGEST + 20, "{}", text.len());
    }
}
