//! What a queue knows, and what follows from it.

use std::time::{Duration, Instant};

use crate::{
    ExportError, ExportStats, FlushError,
    export::{Item, Undelivered},
};

/// How a queue works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueConfig {
    pub(crate) max_waiting: usize,
    pub(crate) batch: usize,
    pub(crate) delay: Duration,
    /// For one batch.
    pub(crate) timeout: Duration,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) stats: ExportStats,
    /// Not yet taken by the thread. `stats.waiting` counts these and those it has taken.
    pub(super) queued: Vec<Item>,
    /// Spans in these.
    pub(super) queued_spans: usize,
    /// When the first of them came.
    pub(super) since: Option<Instant>,
    /// The thread sends without delay until this many spans have been dealt with.
    pub(super) flush_to: u64,
    pub(super) last_error: Option<ExportError>,
    /// Spans were dropped since the batch before, and how many had been by then.
    pub(super) full: bool,
    pub(super) full_before: u64,
    /// Since a shutdown began: when it must end.
    pub(super) closing: Option<Instant>,
    /// Nothing counts any more.
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

    /// Spans that went through the queue. They do so in the order in which they came.
    pub(super) fn settled(&self) -> u64 {
        self.stats.exported + self.stats.undelivered()
    }

    pub(super) fn settle(&mut self, count: u64, undelivered: Undelivered) -> News {
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
            (None, Some(error)) => News::Failing(error),
            (Some(_), Some(_)) => News::None,
            (Some(_), None) => News::Works,
            (None, None) if self.full && !was_full => News::Full,
            (None, None) => News::None,
        }
    }

    /// Counts what still waits as lost. What the thread hears later counts no more.
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

/// What is worth a line in the log: that something began, not that it goes on.
pub(super) enum News {
    None,
    Failing(ExportError),
    Works,
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
