//! A bounded queue between the threads that end spans and the exporter's thread. What must stay true: no thread that
//! ends a span waits, and each span is counted exactly once, under the lock that moves it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
    vec,
};

use opentelemetry::Context;

use self::state::{State, StateChange, Step};
use super::{Ended, Exporter, Item, Pause, Sink, Undelivered, after, log_limit::LogLimit};
use crate::{ExportError, ExportStats, FlushError, StartError};

mod state;

pub(crate) use state::QueueConfig;

/// A bounded queue with a thread that exports from it.
///
/// The SDK's batch processor reports dropped spans only at its shutdown, does not report whether the collector was
/// there, and has fixed limits for a flush.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    config: QueueConfig,
    state: Mutex<State>,
    /// Notified when the thread has work.
    work: Condvar,
    /// Notified when spans are settled.
    settled: Condvar,
    pause: Pause,
    failing: LogLimit,
    works: LogLimit,
    full: LogLimit,
}

impl Queue {
    pub(crate) fn start(
        exporter: impl Exporter + 'static,
        config: QueueConfig,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            config,
            state: Mutex::default(),
            work: Condvar::new(),
            settled: Condvar::new(),
            pause: Pause::default(),
            failing: LogLimit::new(),
            works: LogLimit::new(),
            full: LogLimit::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("pyproc-export".into())
            .spawn(move || theirs.run(exporter))
            .map_err(StartError::Thread)?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    fn join(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic of the exporter was caught and counted.
            let _ = thread.join();
        }
    }
}

impl Sink for Queue {
    fn accept(&self, item: Item) {
        let count = item.count();
        let mut state = self.shared.lock();
        let waiting = state.stats.waiting + count as u64;
        if state.closing.is_some() {
            state.stats.shut_down += count as u64;
        } else if waiting > self.shared.config.max_waiting as u64 {
            state.stats.queue_full += count as u64;
        } else {
            state.stats.waiting = waiting;
            let before = state.queued_spans;
            state.queued_spans += count;
            state.queued.push(item);
            if before == 0 {
                state.since = Some(Instant::now());
            }
            drop(state);
            // The first span starts the delay; a full batch is sent at once.
            let batch = self.shared.config.batch;
            if before == 0 || (before < batch && batch <= before + count) {
                self.shared.work.notify_one();
            }
        }
    }

    fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        let deadline = after(limit);
        let mut state = self.shared.lock();
        let (before, target) = (state.stats, state.settled() + state.stats.waiting);
        state.flush_to = target;
        self.shared.work.notify_one();
        while state.settled() < target && !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let error = state.report(target - state.settled(), Some(limit));
                return Err(self.shared.explain(error));
            }
            state = self.shared.wait(state, left);
        }
        // A shutdown in between has counted the rest as lost.
        let given_up = target.saturating_sub(state.settled());
        match state.stats.undelivered() - before.undelivered() + given_up {
            0 => Ok(()),
            lost => Err(state.report(lost, None)),
        }
    }

    fn close(&self, limit: Duration) -> Result<ExportStats, FlushError> {
        let deadline = after(limit);
        let mut state = self.shared.lock();
        let before = state.stats;
        state.closing.get_or_insert(deadline);
        self.shared.work.notify_one();
        self.shared.pause.interrupt();
        while !state.finished {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.shared.wait(state, left);
        }
        let abandoned = state.abandon();
        let finished = state.finished;
        let lost = state.stats.undelivered() - before.undelivered();
        let result = match (abandoned, lost) {
            (0, 0) => Ok(state.stats),
            (0, lost) => Err(state.report(lost, None)),
            (abandoned, lost) => {
                let error = state.report(lost + abandoned, Some(limit));
                Err(self.shared.explain(error))
            }
        };
        drop(state);
        if finished {
            self.join();
        }
        result
    }

    fn stats(&self) -> ExportStats {
        self.shared.lock().stats
    }
}

/// What the thread has taken from the queue.
#[derive(Default)]
struct Taken {
    items: vec::IntoIter<Item>,
    /// Spans of the last item that did not fit into a batch.
    rest: vec::IntoIter<Ended>,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.items.len() == 0 && self.rest.len() == 0
    }

    fn batch(&mut self, size: usize) -> Vec<Ended> {
        let mut batch: Vec<_> = self.rest.by_ref().take(size).collect();
        while batch.len() < size
            && let Some(item) = self.items.next()
        {
            self.rest = item.spans().into_iter();
            batch.extend(self.rest.by_ref().take(size - batch.len()));
        }
        batch
    }
}

impl Shared {
    /// The thread's main loop.
    fn run(&self, mut exporter: impl Exporter) {
        // Spans of the exporter's own libraries must not be exported in turn.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let mut taken = Taken::default();
        while let Some((batch, deadline)) = self.next_batch(&mut taken) {
            let count = batch.len() as u64;
            let export = || exporter.export(batch, deadline, &self.pause);
            let undelivered = catch_unwind(AssertUnwindSafe(export)).unwrap_or_else(|_| {
                let error = ExportError::unreachable("the exporter panicked");
                Undelivered::of(count, Err(error))
            });
            self.settle(count, undelivered);
        }
        // Nothing waits for this, so a panic changes nothing.
        let _ = catch_unwind(AssertUnwindSafe(|| exporter.close()));
        self.lock().finished = true;
        self.settled.notify_all();
    }

    /// Waits until a batch is due. `None`: the queue is closed and empty.
    fn next_batch(&self, taken: &mut Taken) -> Option<(Vec<Ended>, Instant)> {
        let mut state = self.lock();
        if taken.is_empty() {
            loop {
                let wait = match state.next_step(&self.config) {
                    Step::Send => break,
                    Step::Wait(left) => left,
                    Step::Stop => return None,
                };
                state = match wait {
                    Some(left) => {
                        let woken = self.work.wait_timeout(state, left);
                        woken.unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => {
                        let woken = self.work.wait(state);
                        woken.unwrap_or_else(PoisonError::into_inner)
                    }
                };
            }
            // Takes all at once, so that the lock is not held while spans move.
            taken.items = std::mem::take(&mut state.queued).into_iter();
            state.queued_spans = 0;
            state.since = None;
        } else if state.closed {
            return None;
        }
        let deadline = after(self.config.timeout);
        let deadline = state.closing.map_or(deadline, |end| end.min(deadline));
        drop(state);
        Some((taken.batch(self.config.batch), deadline))
    }

    fn settle(&self, count: u64, undelivered: Undelivered) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let change = state.settle(count, undelivered);
        drop(state);
        self.pause.clear();
        self.settled.notify_all();
        match change {
            StateChange::None => {}
            StateChange::Failing(error) => {
                if let Some(times) = self.failing.record_event() {
                    tracing::warn!(%error, times, "trace export fails; spans are being lost");
                }
            }
            StateChange::Recovered => {
                if let Some(times) = self.works.record_event() {
                    tracing::info!(times, "trace export works again");
                }
            }
            StateChange::Full => {
                if let Some(times) = self.full.record_event() {
                    tracing::warn!(
                        times,
                        "too many spans are waiting for export; some are being lost"
                    );
                }
            }
        }
    }

    /// Adds the reason why the current batch is not settled yet.
    fn explain(&self, error: FlushError) -> FlushError {
        FlushError {
            source: self.pause.trouble().or(error.source),
            ..error
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        let woken = self.settled.wait_timeout(state, left);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("config", &self.shared.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
