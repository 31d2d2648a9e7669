//! From what one stream of a worker says to events.

use std::time::{Duration, Instant};

use super::flood::Flood;
use crate::{
    events::Subscriber,
    lines::{Context, QUIET, Rate, Splitter, Stream, Tally, Transcript},
};

/// Makes events of one stream's lines, as many as allowed.
#[derive(Debug)]
pub(super) struct LineLog {
    worker: usize,
    stream: Stream,
    subscriber: Subscriber,
    splitter: Splitter,
    /// When something last arrived.
    last: Instant,
    transcript: Transcript,
    rate: Rate,
    dropped: Tally,
    pub(super) flood: Flood,
}

impl LineLog {
    pub(super) fn new(worker: usize, stream: Stream, subscriber: Subscriber, rate: u32) -> Self {
        let now = Instant::now();
        Self {
            worker,
            stream,
            transcript: Transcript::new(worker, stream, subscriber.clone()),
            subscriber,
            splitter: Splitter::default(),
            last: now,
            rate: Rate::new(rate, now),
            dropped: Tally::default(),
            flood: Flood::new(),
        }
    }

    /// Takes what was read; `emptied` says that there was no more. Returns how long to wait before more is read.
    pub(super) fn take(&mut self, bytes: &[u8], emptied: bool) -> Option<Duration> {
        let now = Instant::now();
        self.last = now;
        let (rate, transcript) = (&mut self.rate, &mut self.transcript);
        let (mut lines, mut dropped) = (0, 0);
        self.splitter.feed(bytes, |line| {
            lines += 1;
            match rate.take(now) {
                true => transcript.line(line, Context::default(), now),
                false => dropped += 1,
            }
        });
        self.dropped.add(dropped);
        self.flood
            .on_piece(lines, bytes.len(), dropped > 0, emptied)
    }

    /// When to call [`tick`](Self::tick) if nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let partial = self.splitter.has_partial().then(|| self.last + QUIET);
        let deadlines = [
            partial,
            self.transcript.deadline(),
            self.dropped.due(self.last),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Says what was held back for long enough.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.splitter.has_partial() && now >= self.last + QUIET {
            self.flush_partial(now);
        }
        self.transcript.tick(now);
        let dropped = self.dropped.take(now);
        self.say_dropped(dropped);
    }

    /// Nothing more arrives.
    pub(super) fn end(&mut self, now: Instant) {
        self.flush_partial(now);
        self.transcript.flush();
        let dropped = self.dropped.take_all(now);
        self.say_dropped(dropped);
    }

    fn flush_partial(&mut self, now: Instant) {
        let transcript = &mut self.transcript;
        self.splitter
            .flush(|line| transcript.line(line, Context::default(), now));
    }

    fn say_dropped(&self, dropped: Option<u64>) {
        let (worker_id, stream) = (self.worker, self.stream.name());
        if let Some(count) = dropped {
            self.subscriber.with_guarded(
                || tracing::warn!(target: "pyproc::pool", worker_id, stream, count, "lines dropped"),
            );
        }
    }
}
