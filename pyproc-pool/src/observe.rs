//! What a pool tells whoever watches it, such as telemetry. Without an observer a call pays nothing
//! for it but a look that there is none.

use std::{
    fmt,
    time::{Duration, Instant},
};

use pyproc_protocol::{
    Headers,
    v2::{Times, TraceContext},
};

use crate::{Error, StartFailure, WorkerDeath};

/// Watches a pool; see [`PoolBuilder::observer`](crate::PoolBuilder::observer).
///
/// Its methods are called on the paths of calls and workers, and must neither block nor panic: a panic while a call is
/// watched is the caller's, one about a worker is logged.
///
/// ```
/// use pyproc_pool::observe::{CallEnd, CallObserver, CallStart, Observer};
///
/// /// Prints how long each call took.
/// #[derive(Debug)]
/// struct Print;
///
/// struct PrintOne(String);
///
/// impl Observer for Print {
///     fn begin(&self, call: &CallStart<'_>) -> Option<Box<dyn CallObserver>> {
///         Some(Box::new(PrintOne(call.method.into())))
///     }
/// }
///
/// impl CallObserver for PrintOne {
///     fn end(self: Box<Self>, end: &CallEnd<'_>) {
///         println!("{} took {:?}", self.0, end.duration);
///     }
/// }
/// # let _builder = pyproc_pool::Pool::builder().observer(std::sync::Arc::new(Print));
/// ```
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A call begins, in the task of its caller and so in the caller's span. What is returned is told
    /// how it ends; `None` if nobody wants to know.
    fn begin(&self, call: &CallStart<'_>) -> Option<Box<dyn CallObserver>>;

    /// Something happened to a worker.
    fn worker(&self, event: &WorkerEvent<'_>) {
        let _ = event;
    }
}

/// Watches one call. It is told of the end of each call exactly once, whatever becomes of it.
pub trait CallObserver: Send {
    /// Adds what is to travel with the request.
    fn carry(&mut self, carried: &mut Carried<'_>) {
        let _ = carried;
    }

    /// The call ended, in the task of its caller.
    fn end(self: Box<Self>, end: &CallEnd<'_>);
}

/// A call that begins.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallStart<'a> {
    /// The function's name, as the caller gave it: anything.
    pub method: &'a str,
    /// When it began.
    pub start: Instant,
}

/// What travels with a request beside its input.
#[derive(Debug)]
#[non_exhaustive]
pub struct Carried<'a> {
    /// The span that the function runs in. To workers of version 1 it is sent as the header `traceparent`, unless
    /// there is one.
    pub trace: Option<TraceContext>,
    /// The worker shall say when the function ran. Workers of version 1 do not.
    pub times: bool,
    /// Headers, to which more may be added within the limits of headers.
    pub headers: &'a mut Headers,
}

/// How a call went.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallEnd<'a> {
    /// Whether a worker has listed the function: else its name may be anything.
    pub listed: bool,
    /// The worker that had the call last; `None` if none had.
    pub worker: Option<usize>,
    /// What came of it.
    pub outcome: CallOutcome<'a>,
    /// From its beginning to its end.
    pub duration: Duration,
    /// What took how long, if it was answered.
    pub anatomy: Option<Anatomy>,
    /// Bytes of the input as it was sent.
    pub request_bytes: usize,
    /// Bytes of the result as it came; 0 if none came.
    pub response_bytes: usize,
}

/// What came of a call.
#[derive(Debug)]
pub enum CallOutcome<'a> {
    /// The caller has the result.
    Success,
    /// The caller has an error.
    Error(&'a Error),
    /// The caller dropped the call.
    Abandoned,
}

/// The parts of a call that was answered.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Anatomy {
    /// Until the pool sent it: the input was written, and the call waited for a worker.
    pub queued: Duration,
    /// From the pool's sending it to the answer's arrival: transport, waiting in the worker, execution.
    pub worker: Duration,
    /// When the function ran, by the worker's clocks, if it was asked and said.
    pub times: Option<Times>,
}

/// Something that happened to a worker.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerEvent<'a> {
    /// It answers calls from now on.
    Ready {
        /// Its slot.
        worker: usize,
        /// Its process id, if it is known.
        pid: Option<u32>,
        /// It is not the first in its slot.
        restarted: bool,
    },
    /// It died, or broke the protocol and was ended.
    Died {
        /// Its slot.
        worker: usize,
        /// How, as its calls are told.
        error: &'a Error,
    },
    /// It said that it takes no more calls, answered those that it had, and was let go.
    Drained {
        /// Its slot.
        worker: usize,
    },
    /// One did not start.
    StartFailed {
        /// Its slot.
        worker: usize,
        /// Why.
        failure: &'a StartFailure,
    },
    /// The slot stays empty: the pool stops, or too many starts failed.
    Stopped {
        /// The slot.
        worker: usize,
    },
}

impl WorkerEvent<'_> {
    /// The death behind the event, if it is one of a process.
    pub fn death(&self) -> Option<&WorkerDeath> {
        match self {
            Self::Died {
                error: Error::WorkerDied(death),
                ..
            } => Some(death),
            _ => None,
        }
    }
}

/// The observer of one call, if there is one. It is told of the call's end also when the call is
/// dropped.
#[derive(Default)]
pub(crate) struct Watch(Option<Box<Watched>>);

struct Watched {
    observer: Box<dyn CallObserver>,
    start: Instant,
    seen: Seen,
}

/// What is known of a call so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) listed: bool,
    pub(crate) worker: Option<usize>,
    pub(crate) anatomy: Option<Anatomy>,
    pub(crate) request_bytes: usize,
    pub(crate) response_bytes: usize,
}

impl Watch {
    pub(crate) fn begin(observer: Option<&dyn Observer>, method: &str, start: Instant) -> Self {
        let observer = observer.and_then(|it| it.begin(&CallStart { method, start }));
        Self(observer.map(|observer| {
            Box::new(Watched {
                observer,
                start,
                seen: Seen::default(),
            })
        }))
    }

    /// Writes down what is known by now.
    pub(crate) fn note(&mut self, note: impl FnOnce(&mut Seen)) {
        if let Some(watched) = &mut self.0 {
            note(&mut watched.seen);
        }
    }

    /// What the observer wants to travel with the request.
    pub(crate) fn carry(&mut self, headers: &mut Headers) -> (Option<TraceContext>, bool) {
        let Some(watched) = &mut self.0 else {
            return (None, false);
        };
        let mut carried = Carried {
            trace: None,
            times: false,
            headers,
        };
        watched.observer.carry(&mut carried);
        (carried.trace, carried.times)
    }

    pub(crate) fn end(mut self, outcome: CallOutcome<'_>) {
        if let CallOutcome::Error(error) = outcome {
            self.note(|seen| seen.worker = seen.worker.or(error.worker()));
        }
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: CallOutcome<'_>) {
        let Some(watched) = self.0.take() else {
            return;
        };
        let seen = watched.seen;
        watched.observer.end(&CallEnd {
            listed: seen.listed,
            worker: seen.worker,
            outcome,
            duration: watched.start.elapsed(),
            anatomy: seen.anatomy,
            request_bytes: seen.request_bytes,
            response_bytes: seen.response_bytes,
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tell(CallOutcome::Abandoned);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.is_some()).finish()
    }
}
