//! The metrics of one function, and how a call's end changes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::SpanContext;
use prometheus::{IntCounterVec, local::LocalIntCounter};
use pyproc_pool::observe::{CallEnd, CallOutcome};

use super::times::Times;
use crate::ExemplarSlot;

/// The metrics of one function. A call touches six of them: one lock around plain numbers costs less than six atomic
/// numbers. Each scrape copies them to the registry's metrics.
pub(super) struct Function {
    pub(super) name: Box<str>,
    /// The `id` of the [`Functions`](super::functions::Functions) that it belongs to.
    pub(super) registry: u64,
    pub(super) tally: Mutex<Tally>,
    pub(super) exemplars: Arc<ExemplarSlot>,
    pub(super) errors: IntCounterVec,
}

pub(super) struct Tally {
    pub(super) succeeded: LocalIntCounter,
    pub(super) failed: LocalIntCounter,
    pub(super) duration: Times,
    pub(super) queue: Times,
    pub(super) transport: Times,
    pub(super) execution: Times,
    pub(super) sent: LocalIntCounter,
    pub(super) received: LocalIntCounter,
}

impl Function {
    pub(super) fn count(&self, end: &CallEnd<'_>, span: Option<&SpanContext>) {
        self.tally().count(end);
        if let Some(span) = span {
            self.exemplars.note(end.duration.as_secs_f64(), span);
        }
        let kind = match &end.outcome {
            CallOutcome::Success => return,
            CallOutcome::Error(error) => error.kind().as_str(),
            CallOutcome::Abandoned => "abandoned",
        };
        self.errors.with_label_values(&[&*self.name, kind]).inc();
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn count(&mut self, end: &CallEnd<'_>) {
        match end.outcome {
            CallOutcome::Success => self.succeeded.inc(),
            _ => self.failed.inc(),
        }
        self.duration.observe(end.duration);
        self.sent.inc_by(end.request_bytes as u64);
        self.received.inc_by(end.response_bytes as u64);
        let Some(timings) = end.timings else {
            return;
        };
        self.queue.observe(timings.queued);
        if let Some(times) = timings.times {
            // The worker's clock is not trusted: the function ran within the time that the pool measured.
            let ran = times.duration.min(timings.worker);
            self.transport.observe(timings.worker - ran);
            self.execution.observe(ran);
        }
    }

    pub(super) fn times(&self) -> [&Times; 4] {
        [
            &self.duration,
            &self.queue,
            &self.transport,
            &self.execution,
        ]
    }

    pub(super) fn flush(&mut self) {
        for counter in [&self.succeeded, &self.failed, &self.sent, &self.received] {
            counter.flush();
        }
    }
}
