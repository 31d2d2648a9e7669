//! What a pool notifies its observers of, such as telemetry. Without an observer, a call only checks that there is
//! none.

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

/// Is notified of a pool's calls, workers and records; see [`PoolBuilder::observer`](crate::PoolBuilder::observer).
///
/// Its methods are called on the paths of calls and workers, and must neither block nor panic. A panic in a caller's
/// task is the caller's; one in a task of a worker is logged. Only [`record`](Self::record) may take longer, because it
/// runs on a thread of its own. Records that do not fit into 1 MiB for each worker in that time are dropped, and their
/// count is logged.
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
    /// A call starts, in the task of its caller and so in the caller's span. The observer adds what is sent with the
    /// request. The returned value is notified of the call's end; `None` asks for no such notification, and the added
    /// metadata is sent all the same.
    fn begin(
        &self,
        call: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>>;

    /// A caller has written its batch, so a worker is busy now. What the observer prepares here for the next call
    /// delays no call. Called in the task of a caller, for some of the calls.
    fn prepare_next(&self) {}

    /// Something happened to a worker.
    fn worker(&self, event: &WorkerEvent<'_>) {
        let _ = event;
    }

    /// Which records workers are to report; workers of ours that speak version 2 do. Asked once, when the pool starts.
    /// Default: none.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// A worker reported a record that was wanted. Called on a thread of the pool, for one record after another, in the
    /// order of the worker, and before the event of its death.
    fn record(&self, from: RecordOrigin, record: WorkerRecord) {
        let _ = (from, record);
    }
}

/// Is notified of the end of one call, exactly once, whatever its outcome is.
pub trait CallObserver: Send {
    /// The call ended, in the task of its caller.
    fn end(self: Box<Self>, end: &CallEnd<'_>);
}

/// A call that starts.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallStart<'a> {
    /// The function's name as the caller gave it, which may be any text.
    pub method: &'a str,
    /// When it began.
    pub start: Instant,
}

/// Metadata of a request: what is sent beside its input. `Debug` shows only the names of headers.
#[non_exhaustive]
pub struct RequestMetadata<'a> {
    /// The span of the function's execution. Workers of version 1 get it as the header `traceparent`, unless the call
    /// has that header.
    pub trace: Option<TraceContext>,
    /// The span above that one. Workers of version 1 do not report when the function ran, so that no span can be
    /// exported for it; they get this span in place of the one in `trace`. Default: they get that of `trace`.
    pub caller_span_id: Option<[u8; 8]>,
    /// The worker is to report when the function ran. Workers of version 1 cannot.
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

/// How a call ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallEnd<'a> {
    /// Whether the function is known: a worker has listed it, or a worker of version 1, which lists none, has answered
    /// it with success. Else the name may be any text. At most 256 names become known by answers alone.
    pub listed: bool,
    /// The worker that had the call last; `None` if none had.
    pub worker: Option<usize>,
    /// Its outcome.
    pub outcome: CallOutcome<'a>,
    /// From its start to the arrival of its answer, which is the sum of its [`timings`](Self::timings); without an
    /// answer, to its end. What follows the arrival is the caller's own time: its task waits for its turn in the
    /// runtime, and decodes the result.
    pub duration: Duration,
    /// How long each part took, if it was answered.
    pub timings: Option<CallTimings>,
    /// Bytes of the encoded input.
    pub request_bytes: usize,
    /// Bytes of the encoded result; 0 without one.
    pub response_bytes: usize,
}

/// The outcome of a call.
#[derive(Debug)]
pub enum CallOutcome<'a> {
    /// The caller has the result.
    Success,
    /// The caller has an error.
    Error(&'a Error),
    /// The caller dropped the call.
    Abandoned,
}

/// How long the parts of an answered call took.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CallTimings {
    /// Until the pool sent the request: the input was encoded, and the call was queued.
    pub queued: Duration,
    /// From sending the request to the arrival of the answer: transport, waiting in the worker, execution.
    pub worker: Duration,
    /// When the function ran, by the worker's clocks, if it was asked for and reported.
    pub times: Option<Times>,
}

/// Which records workers are to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// Spans that Python code made.
    pub spans: bool,
    /// Metrics that Python code made, and those of the interpreter itself.
    pub metrics: bool,
}

impl Wants {
    /// Whether an observer with these wishes gets the record. A count of lost records goes to every observer that wants
    /// any.
    pub(crate) fn wants(self, record: &WorkerRecord) -> bool {
        match record {
            WorkerRecord::Span(_) => self.spans,
            WorkerRecord::Metrics(_) => self.metrics,
            WorkerRecord::Lost(_) => self.spans || self.metrics,
        }
    }
}

/// The worker that reported a record.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RecordOrigin {
    /// The worker's slot.
    pub worker: usize,
    /// Its process id, if it is known.
    pub pid: Option<u32>,
}

/// A record that a worker reported.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "most are spans, and none is kept"
)]
pub enum WorkerRecord {
    /// A span that Python code made, and that has ended.
    Span(SpanRecord),
    /// Metrics, with their current values.
    Metrics(MetricsRecord),
    /// Counts of records that the worker had to drop.
    Lost(LostRecord),
}

/// An event of a worker.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerEvent<'a> {
    /// It answers calls from now on.
    Ready {
        /// Its slot.
        worker: usize,
        /// Its process id, if it is known.
        pid: Option<u32>,
        /// Whether it replaces another worker.
        restarted: bool,
    },
    /// A [reload](crate::Pool::reload) gave it the slot of another worker, and it answers calls from now on.
    Reloaded {
        /// Its slot.
        worker: usize,
        /// Its process id.
        pid: Option<u32>,
    },
    /// The worker that a reload replaced is gone.
    Replaced {
        /// The slot, which has another worker by now.
        worker: usize,
        /// How it died, if it died before it had answered its calls. `None` also if the pool was shut down first.
        error: Option<&'a Error>,
    },
    /// It died, or violated the protocol and was killed.
    Died {
        /// Its slot.
        worker: usize,
        /// The error that its calls fail with.
        error: &'a Error,
    },
    /// It asked to drain, answered its calls, and was stopped.
    Drained {
        /// Its slot.
        worker: usize,
    },
    /// A worker did not start.
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
    /// The death that the event reports, if it is the death of a process.
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
