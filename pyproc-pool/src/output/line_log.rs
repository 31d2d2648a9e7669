//! Makes events of the bytes of one stream of a worker.

use std::{
    mem::MaybeUninit,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::io::Errno;

use super::{
    EventWriter, Rate, Tally,
    lines::{Context, QUIET, Splitter, Stream},
};
use super::{
    call_attributor::{CallAttributor, Piece, is_same},
    flood::Flood,
};
use crate::{events::Subscriber, outgoing::Calling};

/// Makes events of one stream's lines, within the rate.
#[derive(Debug)]
pub(super) struct LineLog {
    worker: usize,
    stream: Stream,
    attributor: Arc<CallAttributor>,
    /// The call that wrote the last bytes that were read, and the context of its lines.
    call: Option<Arc<Calling>>,
    context: Context,
    subscriber: Subscriber,
    splitter: Splitter,
    /// When bytes last arrived.
    last: Instant,
    transcript: EventWriter,
    rate: Rate,
    dropped: Tally,
    pub(super) flood: Flood,
}

impl LineLog {
    pub(super) fn new(
        worker: usize,
        stream: Stream,
        attributor: Arc<CallAttributor>,
        subscriber: Subscriber,
        rate: u32,
    ) -> Self {
        let now = Instant::now();
        Self {
            worker,
            stream,
            attributor,
            call: None,
            context: Context::default(),
            transcript: EventWriter::new(worker, stream, subscriber.clone()),
            subscriber,
            splitter: Splitter::default(),
            last: now,
            rate: Rate::new(rate, now),
            dropped: Tally::default(),
            flood: Flood::new(),
        }
    }

    /// Reads from the pipe. Returns the bytes, and how long to wait before the next read. No bytes mean the end.
    pub(super) fn read<'a>(
        &mut self,
        buffer: &'a mut [MaybeUninit<u8>],
    ) -> Result<(&'a [u8], Option<Duration>), Errno> {
        let Piece {
            bytes,
            emptied,
            call,
            foreign,
        } = self.attributor.read(self.stream, buffer)?;
        let now = Instant::now();
        if !is_same(call.as_ref(), self.call.as_ref()) {
            self.turn(call, now);
        }
        self.context.foreign = foreign;
        self.context.time = arrival();
        let pause = match bytes.is_empty() {
            true => None,
            false => self.take(bytes, emptied, now),
        };
        Ok((bytes, pause))
    }

    /// The next bytes belong to another call.
    fn turn(&mut self, call: Option<Arc<Calling>>, now: Instant) {
        self.flush_partial(now);
        self.transcript.flush();
        self.context = call.as_ref().map(|it| it.context()).unwrap_or_default();
        self.call = call;
    }

    /// Takes the bytes of a read; `emptied` means that it emptied the pipe. Returns how long to wait before the next
    /// read.
    fn take(&mut self, bytes: &[u8], emptied: bool, now: Instant) -> Option<Duration> {
        self.last = now;
        let (rate, transcript, context) = (&mut self.rate, &mut self.transcript, &self.context);
        let (mut lines, mut dropped) = (0, 0);
        self.splitter.feed(bytes, |line| {
            lines += 1;
            match rate.take(line.len(), now) {
                true => transcript.line(line, context.clone(), now),
                false => dropped += 1,
            }
        });
        self.dropped.add(dropped);
        // A line that does not end is a flood, too.
        let over = dropped > 0 || self.splitter.is_skipping();
        self.flood.on_piece(lines, bytes.len(), over, emptied)
    }

    /// When to call [`tick`](Self::tick) if nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let partial = self.has_quiet_partial().then(|| self.last + QUIET);
        let deadlines = [
            partial,
            self.transcript.deadline(),
            self.dropped.due(self.last),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Emits what was held back for long enough.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.has_quiet_partial() && now >= self.last + QUIET {
            self.flush_partial(now);
        }
        self.transcript.tick(now);
        let dropped = self.dropped.take(now);
        self.say_dropped(dropped);
    }

    /// The stream has ended.
    pub(super) fn end(&mut self, now: Instant) {
        self.flush_partial(now);
        self.transcript.flush();
        let dropped = self.dropped.take_all(now);
        self.say_dropped(dropped);
    }

    /// Whether an incomplete line is held that is emitted after a time without its end.
    fn has_quiet_partial(&self) -> bool {
        self.splitter.has_partial() && !self.splitter.is_refreshed()
    }

    fn flush_partial(&mut self, now: Instant) {
        let (transcript, context) = (&mut self.transcript, &self.context);
        self.splitter
            .flush(|line| transcript.line(line, context.clone(), now));
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

/// The time of arrival, for lines that are held back: nanoseconds since the Unix epoch.
fn arrival() -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    now.as_nanos().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(rate: u32) -> LineLog {
        let pipe = || Arc::new(std::io::pipe().unwrap().0);
        let attributor = Arc::new(CallAttributor::new(pipe(), pipe()));
        LineLog::new(0, Stream::Stdout, attributor, Subscriber::here(), rate)
    }

    /// Whether reading is held up before `most` bytes were read.
    fn is_held_up(log: &mut LineLog, piece: &[u8], most: usize) -> bool {
        (0..most / piece.len()).any(|_| log.take(piece, false, Instant::now()).is_some())
    }

    #[test]
    fn a_line_without_an_end_is_held_up() {
        assert!(is_held_up(&mut log(10_000), &[b'x'; 4096], 4 << 20));
    }

    #[test]
    fn a_progress_bar_is_logged_at_its_end_only() {
        let (mut log, now) = (log(10_000), Instant::now());
        log.take(b"\r 10%", true, now);
        assert_eq!(log.deadline(), None);
        log.take(b"\r100%\nmore", true, now);
        assert_eq!(log.deadline(), Some(now + QUIET));
    }

    #[test]
    fn few_lines_are_held_up_if_they_are_long() {
        let mut line = vec![b'x'; 60_000];
        line.push(b'\n');
        assert!(is_held_up(&mut log(1000), &line, 4 << 20));
    }
}
