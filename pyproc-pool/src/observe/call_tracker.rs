//! What is known of one call until its end, and the notifications of its observer.

use std::{
    fmt,
    time::{Duration, Instant},
};

use pyproc_protocol::{Headers, TraceContext, v2::Response};

use super::{
    CallEnd, CallObserver, CallOutcome, CallStart, CallTimings, Observer, RequestMetadata,
};
use crate::{clock::Clock, outgoing::Trace};

/// A call, and its observer if there is one. The observer is notified of the call's end also when the call is dropped.
pub(crate) struct CallTracker {
    observer: Option<Box<dyn CallObserver>>,
    clock: Clock,
    pub(crate) start: Instant,
    /// A worker has listed the function, or answered it with success.
    pub(crate) confirmed: bool,
    pub(crate) request_bytes: usize,
    /// The trace context that the observer sends to the worker.
    pub(crate) trace: Option<Trace>,
}

/// The outcome of a call, as far as the pool knows it.
#[derive(Clone, Copy, Default)]
pub(crate) struct CallSummary {
    pub(crate) worker: Option<usize>,
    /// Only of a call that was answered.
    pub(crate) answer: Option<AnswerSummary>,
}

/// An answer without its result.
#[derive(Clone, Copy)]
pub(crate) struct AnswerSummary {
    timings: CallTimings,
    response_bytes: usize,
}

impl AnswerSummary {
    /// Until the answer arrived, so that the clock need not be read again.
    pub(crate) fn duration(&self) -> Duration {
        self.timings.queued + self.timings.worker
    }
}

/// For `cargo xtask bench --telemetry`: a pool without observers, to compare with.
#[allow(unexpected_cfgs, reason = "set by that command alone")]
const UNWATCHABLE: bool = cfg!(pyproc_without_observer);

impl CallTracker {
    /// A call without an observer so far.
    pub(crate) fn new(start: Instant, clock: Clock) -> Self {
        Self {
            observer: None,
            clock,
            start,
            confirmed: false,
            request_bytes: 0,
            trace: None,
        }
    }

    /// Notifies the observer of the call, which adds its metadata. Returns whether the worker is to report when the
    /// function ran.
    pub(crate) fn begin(
        &mut self,
        observer: Option<&dyn Observer>,
        method: &str,
        headers: &mut Headers,
    ) -> bool {
        let Some(observer) = observer.filter(|_| !UNWATCHABLE) else {
            return false;
        };
        let start = self.start;
        let mut metadata = RequestMetadata {
            trace: None,
            caller_span_id: None,
            times: false,
            headers,
        };
        self.observer = observer.begin(&CallStart { method, start }, &mut metadata);
        if let Some(context) = metadata.trace {
            self.trace = Some(Trace {
                context,
                caller_span_id: metadata.caller_span_id,
            });
        }
        metadata.times
    }

    /// The summary of a call that was sent to `worker` at `sent`, and whose answer arrived at `received`.
    pub(crate) fn summary(
        &self,
        worker: usize,
        sent: Instant,
        received: Instant,
        answer: &Response,
    ) -> CallSummary {
        let result = answer.result.as_ref();
        // A queued call is sent when another is answered, and that time may be earlier than its own beginning.
        let sent = sent.max(self.start);
        CallSummary {
            worker: Some(worker),
            answer: Some(AnswerSummary {
                timings: CallTimings {
                    queued: sent - self.start,
                    worker: received.saturating_duration_since(sent),
                    times: answer.times,
                },
                response_bytes: result.map_or(0, |body| body.bytes.len()),
            }),
        }
    }

    /// How long a call took that has ended.
    pub(crate) fn duration(&self, seen: &CallSummary) -> Duration {
        match &seen.answer {
            Some(answer) => answer.duration(),
            None => self.clock.now().saturating_duration_since(self.start),
        }
    }

    /// The span of the call itself, if the observer gave it.
    pub(crate) fn span(&self) -> Option<TraceContext> {
        self.trace.map(Trace::above_execution)
    }

    pub(crate) fn end(&mut self, seen: CallSummary, outcome: CallOutcome<'_>) {
        let Some(observer) = self.observer.take() else {
            return;
        };
        let answer = seen.answer.as_ref();
        observer.end(&CallEnd {
            listed: self.confirmed,
            worker: seen.worker,
            outcome,
            duration: self.duration(&seen),
            timings: answer.map(|it| it.timings),
            request_bytes: self.request_bytes,
            response_bytes: answer.map_or(0, |it| it.response_bytes),
        });
    }
}

impl Drop for CallTracker {
    fn drop(&mut self) {
        self.end(CallSummary::default(), CallOutcome::Abandoned);
    }
}

impl fmt::Debug for CallTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallTracker")
            .field(&self.observer.is_some())
            .finish()
    }
}
