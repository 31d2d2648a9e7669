use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pyproc_protocol::{Features, Headers};

#[cfg(feature = "testing")]
use crate::transport::InProcess;
use crate::{
    Error, PoolConfig, WorkerOutput,
    clock::Clock,
    driver::Driver,
    events::{self, Subscriber, WorkerLogEvent},
    observe::{
        CallLog, CallOutcome, CallSummary, CallTracker, Completed, Observer, RecordHandler,
        RecordQueue, Rejected, Rejections, Wants, WorkerEvent, together,
    },
    scheduler::Limits,
};

/// What the handles and the tasks of a pool share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) config: PoolConfig,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// The features that the hello requests from workers.
    pub(crate) features: Features,
    pub(crate) records: RecordQueue,
    pub(crate) inject_headers: HeaderInjector,
    pub(crate) call_log: CallLog,
    pub(crate) subscriber: Subscriber,
    refusals: Mutex<Rejections>,
    pub(crate) driver: Driver,
}

/// Leaves out the calls, because inputs and headers may be secret.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What a builder attached to the pool beside its settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attached {
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) inject_headers: HeaderInjector,
    /// Workers of this process, in place of spawned ones.
    #[cfg(feature = "testing")]
    pub(crate) in_process: Option<InProcess>,
}

impl Attached {
    /// Workers of this process use the clock of their runtime.
    fn clock(&self) -> Clock {
        #[cfg(feature = "testing")]
        if self.in_process.is_some() {
            return Clock::Tokio;
        }
        Clock::System
    }
}

/// Adds headers to each call; see [`PoolBuilder::inject_headers`](crate::PoolBuilder::inject_headers).
#[derive(Clone, Default)]
pub(crate) struct HeaderInjector(pub(crate) Option<Arc<InjectHeaders>>);

type InjectHeaders = dyn Fn(&mut Headers) + Send + Sync;

impl fmt::Debug for HeaderInjector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeaderInjector")
            .field(&self.0.is_some())
            .finish()
    }
}

impl Shared {
    pub(crate) fn new(mut config: PoolConfig, attached: Attached, workers: usize) -> Self {
        let subscriber = Subscriber::here();
        config.output = config.output.resolved(subscriber.is_there());
        let clock = attached.clock();
        let observer = together(attached.observers);
        let features = features(&config, observer.as_deref(), &subscriber);
        let reports = RecordHandler::new(
            subscriber.clone(),
            observer.clone(),
            features,
            config.output == WorkerOutput::Log,
            config.log_rate,
            workers,
        );
        let limits = Limits {
            max_in_flight: config.max_in_flight,
            max_queue: config.max_queue,
            max_frame_size: config.max_frame_size,
        };
        Self {
            clock,
            observer,
            features,
            records: RecordQueue::new(workers, reports),
            inject_headers: attached.inject_headers,
            call_log: CallLog::new(&config),
            subscriber,
            refusals: Mutex::default(),
            config,
            driver: Driver::new(workers, limits),
        }
    }

    /// Called when a caller has written its batch, so that a worker is busy now.
    pub(crate) fn prepare_next(&self) {
        if let Some(observer) = &self.observer {
            observer.prepare_next();
        }
    }

    /// Notifies the observer, if there is one.
    pub(crate) fn notify(&self, event: &WorkerEvent<'_>) {
        if let Some(observer) = &self.observer {
            self.subscriber.with_guarded(|| observer.worker(event));
        }
    }

    /// Logs an event of a worker.
    pub(crate) fn log(&self, worker: usize, news: WorkerLogEvent<'_>) {
        self.subscriber
            .with_guarded(|| events::worker(worker, news));
    }

    /// Ends a call: logs it, and notifies its observer.
    pub(crate) fn finish(
        &self,
        method: &str,
        tracker: &mut CallTracker,
        seen: CallSummary,
        outcome: CallOutcome<'_>,
    ) {
        self.call_log.completed(&Completed {
            method,
            tracker,
            seen: &seen,
            outcome: &outcome,
        });
        tracker.end(seen, outcome);
    }

    /// Counts a call that was rejected, if `error` is such a rejection. The count is logged at most once a second.
    pub(crate) fn log_refusal(&self, error: &Error) {
        let &Error::Overloaded {
            ready,
            in_flight,
            queued,
        } = error
        else {
            return;
        };
        let now = self.clock.now();
        let mut refusals = self.refusals();
        let others_wait = refusals.due(now).is_some();
        refusals.add(ready, in_flight, queued);
        let refused = refusals.take(now);
        drop(refusals);
        match refused {
            Some(refused) => refused.log(),
            None if others_wait => {}
            // The thread of the deadlines logs it when it is due.
            None => self.driver.recheck_deadlines(),
        }
    }

    /// Logs rejections that were counted before.
    pub(crate) fn log_refused(&self, refused: Option<Rejected>) {
        if let Some(refused) = refused {
            self.subscriber.with_guarded(|| refused.log());
        }
    }

    /// Held for a short time only. If both locks are needed, take it after the scheduler's.
    pub(crate) fn refusals(&self) -> MutexGuard<'_, Rejections> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The features that the hello requests from workers.
fn features(
    config: &PoolConfig,
    observer: Option<&dyn Observer>,
    subscriber: &Subscriber,
) -> Features {
    let wants = observer.map_or_else(Wants::default, |it| it.wants());
    let mut features = Features::CALLS;
    let inherits = config.output == WorkerOutput::Inherit;
    features.logs = config.python_logs && subscriber.is_there() && !inherits;
    features.spans = wants.spans;
    features.metrics = wants.metrics;
    features
}
