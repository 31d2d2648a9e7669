//! What a pool tells whoever watches it, such as telemetry. Without an observer a call pays nothing
//! for it but a look that there is none.

use std::{
    fmt,
    time::{Duration, Instant},
};

use pyproc_protocol::{
    Headers, Times, TraceContext,
    v2::telemetry::{LostRecord, MetricsRecord, SpanRecord},
};

mod call_log;
mod call_tracker;
mod fan_out;
mod lost_records;
mod record_batch;
mod record_handler;
mod record_queue;
mod rejections;

pub(crate) use call_log::{CallLog, Completed};
pub(crate) use call_tracker::{CallSummary, CallTracker};
pub(crate) use fan_out::together;
pub(crate) use record_handler::RecordHandler;
pub(crate) use record_queue::{RecordQueue, RecordSender};
pub(crate) use rejections::{Rejected, Rejections};

use crate::{Error, StartFailure, WorkerDeath};

/// Watches a pool; see [`PoolBuilder::observer`](crate::PoolBuilder::observer).
///
/// Its methods are called on the paths of calls and workers, and must neither block nor panic: a panic in the task of a
/// caller is the caller's, one about a worker is logged. Only [`record`](Self::record) has a thread of the pool for
/// itself, and may take a moment: what does not fit into 1 MiB for each worker meanwhile is dropped and counted in
/// the log.
///
/// ```
/// use pyproc_pool::observe::{CallEnd, CallObserver, CallStart, RequestMetadata, Observer};
///
/// /// Prints how long each call took.
/// #[derive(Debug)]
/// struct Print;
///
/// struct PrintOne(String);
///
/// impl Observer for Print {
///     fn begin(&self, call: &CallStart<'_>, _: &mut RequestMetadata<'_>) -> Option<Box<dyn CallObserver>> {
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
    /// A call begins, in the task of its caller and so in the caller's span. Adds what is to travel with the request; what is
    /// returned is notified of the call's end. `None` asks for no such notification; what was added travels all the same.
    fn begin(
        &self,
        call: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>>;

    /// A caller has sent its request, and what others had left to it: while the worker works, what the next call will
    /// need costs nobody time if it is made ready now. Called in the task of a caller, for some of the calls.
    fn prepare_next(&self) {}

    /// Something happened to a worker.
    fn worker(&self, event: &WorkerEvent<'_>) {
        let _ = event;
    }

    /// What workers shall report, as far as they can: those of ours of version 2. Asked once, when the pool starts.
    /// Default: nothing.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// A worker reported something that was wanted. Called on a thread of the pool, for one record after another, in
    /// the order of the worker, and before the event of its death.
    fn record(&self, from: RecordOrigin, record: WorkerRecord) {
        let _ = (from, record);
    }
}

/// Watches one call. It is notified of the call's end exactly once, whatever becomes of the call.
pub trait CallObserver: Send {
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

/// What travels with a request beside its input. `Debug` shows the names of headers only.
#[non_exhaustive]
pub struct RequestMetadata<'a> {
    /// The span that the function runs in. To workers of version 1 it is sent as the header `traceparent`, unless
    /// there is one.
    pub trace: Option<TraceContext>,
    /// The span above that one. Workers of version 1, which do not say when the function ran, get it in place of the
    /// span in `trace`, which nobody can export then. Default: they get that of `trace`.
    pub caller_span_id: Option<[u8; 8]>,
    /// The worker shall say when the function ran. Workers of version 1 do not.
    pub times: bool,
    /// Headers: the call's own, those of [`inject_headers`](crate::PoolBuilder::inject_headers), and those of the pool's earlier
    /// observers. More may be added within the limits of headers.
    pub headers: &'a mut Headers,
}

impl fmt::Debug for RequestMetadata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMetadata")
            .field("trace", &self.trace)
            .field("caller_span_id", &self.caller_span_id)
            .field("times", &self.times)
            .field("headers", &Vec::from_iter(self.headers.keys()))
            .finish()
    }
}

/// How a call went.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallEnd<'a> {
    /// Whether a worker has listed the function, or one that lists none, as of version 1, answered a call of it with success: else
    /// its name may be anything. At most 256 names count by answers alone.
    pub listed: bool,
    /// The worker that had the call last; `None` if none had.
    pub worker: Option<usize>,
    /// What came of it.
    pub outcome: CallOutcome<'a>,
    /// From its beginning to the arrival of its answer, and so the parts of its [`timings`](Self::timings) together; without an
    /// answer, to its end. What comes after an answer's arrival is the caller's own: its task waits for its turn in its
    /// runtime, and reads the result.
    pub duration: Duration,
    /// What took how long, if it was answered.
    pub timings: Option<CallTimings>,
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
pub struct CallTimings {
    /// Until the pool sent it: the input was written, and the call waited for a worker.
    pub queued: Duration,
    /// From the pool's sending it to the answer's arrival: transport, waiting in the worker, execution.
    pub worker: Duration,
    /// When the function ran, by the worker's clocks, if it was asked and said.
    pub times: Option<Times>,
}

/// What workers shall report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// Spans that were made in Python.
    pub spans: bool,
    /// Metrics that were made in Python, and those of Python itself.
    pub metrics: bool,
}

impl Wants {
    /// Whether that is of interest; what was lost is to whoever wants anything.
    pub(crate) fn wants(self, record: &WorkerRecord) -> bool {
        match record {
            WorkerRecord::Span(_) => self.spans,
            WorkerRecord::Metrics(_) => self.metrics,
            WorkerRecord::Lost(_) => self.spans || self.metrics,
        }
    }
}

/// Who reports.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RecordOrigin {
    /// The worker's slot.
    pub worker: usize,
    /// Its process id, if it is known.
    pub pid: Option<u32>,
}

/// Something that a worker reported.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "most are spans, and none is kept"
)]
pub enum WorkerRecord {
    /// A span that was made in Python and has ended.
    Span(SpanRecord),
    /// Metrics, as they stand.
    Metrics(MetricsRecord),
    /// What the worker had to drop, for whoever wants anything.
    Lost(LostRecord),
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
    /// A [reload](crate::Pool::reload) has put it in the place of another, and it answers calls from now on.
    Reloaded {
        /// Its slot.
        worker: usize,
        /// Its process id.
        pid: Option<u32>,
    },
    /// The one that a reload has replaced is gone.
    Replaced {
        /// The slot, which has another by now.
        worker: usize,
        /// How it died, if it did before it had answered the calls that it had. None either if the pool was shut
        /// down first.
        error: Option<&'a Error>,
    },
    /// It died, or broke the protocol and was ended.
    Died {
        /// Its slot.
        worker: usize,
        /// How: the error that its calls fail with.
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
            }
            | Self::Replaced {
                error: Some(Error::WorkerDied(death)),
                ..
            } => Some(death),
            _ => None,
        }
    }
}
