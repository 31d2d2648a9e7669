//! What one call tells the pool's observer.

use std::{cell::RefCell, fmt, time::Instant};

use pyproc_protocol::{Headers, v2::TraceContext};

use crate::{
    call_table::Answered,
    observe::{Anatomy, CallEnd, CallObserver, CallOutcome, CallStart, Carried, Observer},
    outgoing::Trace,
};

/// The observer of one call, if there is one. It is told of the call's end also when the call is
/// dropped.
#[derive(Default)]
pub(crate) struct Watch(Option<Box<Watched>>);

struct Watched {
    /// None: it is spare.
    observer: Option<Box<dyn CallObserver>>,
    start: Instant,
    seen: Seen,
}

/// What the observer is told of a call, as far as it is known.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) listed: bool,
    pub(crate) worker: Option<usize>,
    pub(crate) request_bytes: usize,
    response_bytes: usize,
    anatomy: Option<Anatomy>,
    trace: Option<Trace>,
}

/// For `cargo xtask bench --telemetry`: a pool that nobody can watch, to compare with.
#[allow(unexpected_cfgs, reason = "set by that command alone")]
const UNWATCHABLE: bool = cfg!(pyproc_without_observer);

impl Watch {
    pub(crate) fn begin(observer: Option<&dyn Observer>, method: &str, start: Instant) -> Self {
        if UNWATCHABLE {
            return Self(None);
        }
        let observer = observer.and_then(|it| it.begin(&CallStart { method, start }));
        Self(observer.map(|observer| Watched::new(observer, start)))
    }

    /// Writes down what is known by now.
    pub(crate) fn note(&mut self, note: impl FnOnce(&mut Seen)) {
        if let Some(watched) = &mut self.0 {
            note(&mut watched.seen);
        }
    }

    pub(crate) fn on_answer(&mut self, answered: &Answered) {
        let Some(Watched { start, seen, .. }) = self.0.as_deref_mut() else {
            return;
        };
        seen.worker = Some(answered.worker);
        seen.anatomy = Some(Anatomy {
            queued: answered.sent.saturating_duration_since(*start),
            worker: answered.received.saturating_duration_since(answered.sent),
            times: answered.answer.times,
        });
        let result = answered.answer.result.as_ref();
        seen.response_bytes = result.map_or(0, |body| body.bytes.len());
    }

    /// What the observer wants to travel with the request: the trace, and whether the worker shall say when the
    /// function ran.
    pub(crate) fn carry(&mut self, headers: &mut Headers) -> (Option<Trace>, bool) {
        let Some(watched) = &mut self.0 else {
            return (None, false);
        };
        let mut carried = Carried {
            trace: None,
            caller_span_id: None,
            times: false,
            headers,
        };
        if let Some(observer) = &mut watched.observer {
            observer.carry(&mut carried);
        }
        let trace = carried.trace.map(|context| Trace {
            context,
            caller_span_id: carried.caller_span_id,
        });
        watched.seen.trace = trace;
        (trace, carried.times)
    }

    /// The span of the call itself, as far as the observer has told.
    pub(crate) fn span(&self) -> Option<TraceContext> {
        let trace = self.0.as_ref()?.seen.trace?;
        Some(trace.above_execution())
    }

    pub(crate) fn end(mut self, outcome: CallOutcome<'_>) {
        if let CallOutcome::Error(error) = outcome {
            self.note(|seen| seen.worker = seen.worker.or(error.worker()));
        }
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: CallOutcome<'_>) {
        let Some(mut watched) = self.0.take() else {
            return;
        };
        let seen = &watched.seen;
        let end = CallEnd {
            listed: seen.listed,
            worker: seen.worker,
            outcome,
            duration: watched.start.elapsed(),
            anatomy: seen.anatomy,
            request_bytes: seen.request_bytes,
            response_bytes: seen.response_bytes,
        };
        if let Some(observer) = watched.observer.take() {
            observer.end(&end);
        }
        watched.keep();
    }
}

thread_local! {
    /// Memory of calls that have ended, for the next ones of this thread: an allocator takes several times as long.
    #[expect(clippy::vec_box, reason = "what is kept are the boxes")]
    static SPARE: RefCell<Vec<Box<Watched>>> = const { RefCell::new(Vec::new()) };
}

/// As many as there may be calls in flight that find one.
const MOST_SPARE: usize = 64;

impl Watched {
    fn new(observer: Box<dyn CallObserver>, start: Instant) -> Box<Self> {
        let new = Self {
            observer: Some(observer),
            start,
            seen: Seen::default(),
        };
        // A thread that ends has none any more.
        match SPARE.try_with(|spare| spare.borrow_mut().pop()) {
            Ok(Some(mut spare)) => {
                *spare = new;
                spare
            }
            _ => Box::new(new),
        }
    }

    fn keep(self: Box<Self>) {
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST_SPARE {
                spare.push(self);
            }
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
