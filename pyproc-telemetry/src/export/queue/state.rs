//! The state of a queue and its transitions, without locks and threads.

use std::time::{Duration, Instant};

use crate::{
    ExportError, ExportStats, FlushError,
    export::{Item, Undelivered},
};

/// The settings of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueConfig {
    pub(crate) max_waiting: usize,
    pub(crate) batch: usize,
    pub(crate) delay: Duration,
    /// The limit for one batch.
    pub(crate) timeout: Duration,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) stats: ExportStats,
    /// Not yet taken by the thread. `stats.waiting` counts these and those that the thread has taken.
    pub(super) queued: Vec<Item>,
    /// The number of spans in `queued`.
    pub(super) queued_spans: usize,
    /// When the first of them was queued.
    pub(super) since: Option<Instant>,
    /// The thread sends without delay until this many spans are settled.
    pub(super) flush_to: u64,
    pub(super) last_error: Option<ExportError>,
    /// Whether spans were dropped since the last batch, and the number of dropped spans at that time.
    pub(super) full: bool,
    pub(super) full_before: u64,
    /// The deadline of a shutdown, once it has started.
    pub(super) closing: Option<Instant>,
    /// Nothing is counted any more.
    pub(super) closed: bool,
    /// The thread is done.
    pub(super) finished: bool,
}

impl State {
    pub(super) fn next_step(&self, config: &QueueConfig) -> Step {
        if self.closed {
            return Step::Stop;
        }
        let Some(since) = self.since else {
            return match self.closing {
                Some(_) => Step::Stop,
                None => Step::Wait(None),
            };
        };
        let left = config.delay.saturating_sub(since.elapsed());
        let hurry = self.closing.is_some() || self.settled() < self.flush_to;
        if hurry || self.queued_spans >= config.batch || left.is_zero() {
            return Step::Send;
        }
        Step::Wait(Some(left))
    }

    /// Spans that have left the queue. They leave in the order in which they were queued.
    pub(super) fn settled(&self) -> u64 {
        self.stats.exported + self.stats.undelivered()
    }

    pub(super) fn settle(&mut self, count: u64, undelivered: Undelivered) -> StateChange {
        let Undelivered {
            refused,
            failed,
            error,
        } = undelivered;
        let stats = &mut self.stats;
        stats.waiting -= count;
        let before = self.last_error.take();
        let was_full = std::mem::replace(&mut self.full, stats.queue_full > self.full_before);
        self.full_before = stats.queue_full;
        stats.refused += refused;
        stats.failed += failed;
        stats.exported += count - refused - failed;
        stats.failures += u64::from(error.is_some() && refused + failed == count);
        self.last_error.clone_from(&error);
        match (before, error) {
            (None, Some(error)) => StateChange::Failing(error),
            (Some(_), Some(_)) => StateChange::None,
            (Some(_), None) => StateChange::Recovered,
            (None, None) if self.full && !was_full => StateChange::Full,
            (None, None) => StateChange::None,
        }
    }

    /// Counts all waiting spans as lost. Later results of the thread are ignored.
    pub(super) fn abandon(&mut self) -> u64 {
        self.closed = true;
        self.queued = Vec::new();
        self.queued_spans = 0;
        self.since = None;
        let abandoned = std::mem::take(&mut self.stats.waiting);
        self.stats.shut_down += abandoned;
        abandoned
    }

    pub(super) fn report(&self, spans: u64, timed_out: Option<Duration>) -> FlushError {
        FlushError {
            spans,
            timed_out,
            source: self.last_error.clone(),
            stats: self.stats.into(),
        }
    }
}

/// A change that is logged: the start of a problem or its end, not its continuation.
pub(super) enum StateChange {
    None,
    Failing(ExportError),
    Recovered,
    Full,
}

pub(super) enum Step {
    Send,
    Wait(Option<Duration>),
    Stop,
}

impl ExportStats {
    pub(super) fn undelivered(&self) -> u64 {
        self.refused + self.failed
    }
}
