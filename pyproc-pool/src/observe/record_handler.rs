//! Handles the records that workers report: log records become events, the others go to the observer.

use std::{fmt, sync::Arc, time::Instant};

use pyproc_protocol::{
    Features,
    v2::telemetry::{LogRecord, LostRecord, Record, UnreadableMetric},
};

use super::{
    Observer, RecordOrigin, Wants, WorkerRecord, lost_records::LostRecords,
    record_batch::RecordBatch,
};
use crate::{
    error::bounded,
    events::Subscriber,
    output::{
        EventWriter, Rate,
        lines::{Context, Stream},
        python_log,
    },
    text::{LONGEST, cut},
};

/// Where the records go.
pub(crate) struct RecordHandler {
    pub(crate) subscriber: Subscriber,
    observer: Option<Arc<dyn Observer>>,
    wants: Wants,
    /// Whether printed lines are logged. They go where the output of the process goes, else nowhere.
    prints: bool,
    workers: Vec<Worker>,
}

/// The state of one worker from one batch to the next.
struct Worker {
    rate: Rate,
    stdout: EventWriter,
    stderr: EventWriter,
    lost: LostRecords,
}

impl RecordHandler {
    pub(crate) fn new(
        subscriber: Subscriber,
        observer: Option<Arc<dyn Observer>>,
        features: Features,
        prints: bool,
        log_rate: u32,
        workers: usize,
    ) -> Self {
        let now = Instant::now();
        let writer = |worker, stream| EventWriter::new(worker, stream, subscriber.clone());
        let worker = |worker| Worker {
            rate: Rate::new(log_rate, now),
            stdout: writer(worker, Stream::Stdout),
            stderr: writer(worker, Stream::Stderr),
            lost: LostRecords::default(),
        };
        let workers = (0..workers).map(worker).collect();
        Self {
            subscriber,
            observer,
            wants: Wants {
                spans: features.spans,
                metrics: features.metrics,
            },
            prints,
            workers,
        }
    }

    /// Handles the records of one worker.
    pub(crate) fn take(&mut self, inbound: &RecordBatch) {
        let (now, worker) = (Instant::now(), inbound.worker);
        let state = &mut self.workers[worker];
        state.lost.without_room.add(inbound.dropped);
        if inbound.too_long > 0 {
            let cause = || "telemetry longer than the maximum frame size".into();
            state.lost.unreadable.add(inbound.too_long, cause);
        }
        let from = RecordOrigin {
            worker,
            pid: inbound.pid,
        };
        let lines = inbound.records.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            let state = &mut self.workers[worker];
            if state.rate.is_empty(now) && is_log(line) {
                state.lost.over_rate.add(1);
                continue;
            }
            match Record::decode_line(line) {
                Ok(Some(record)) => {
                    keep_print(&record, inbound);
                    self.handle(from, record, line.len(), inbound.foreign, now);
                }
                // A kind of record of a later release.
                Ok(None) => {}
                Err(error) => state.lost.unreadable.add(1, || bounded(&error)),
            }
        }
        if inbound.is_last {
            self.workers[worker].log_all(worker, &self.subscriber, now);
        }
    }

    /// `size` is the length of the record's line.
    fn handle(
        &mut self,
        from: RecordOrigin,
        record: Record,
        size: usize,
        foreign: bool,
        now: Instant,
    ) {
        let state = &mut self.workers[from.worker];
        match record {
            Record::Log(mut log) if state.rate.take(size, now) => {
                if size > LONGEST {
                    bound(&mut log);
                }
                self.log(from, &log, foreign, now);
            }
            Record::Log(_) => state.lost.over_rate.add(1),
            Record::Span(span) => self.observe(from, WorkerRecord::Span(span)),
            Record::Metrics(metrics) => {
                for UnreadableMetric { name, reason } in &metrics.unreadable {
                    let cause = || format!("the metric `{name}` cannot be read: {reason}");
                    state.lost.unreadable.add(1, cause);
                }
                self.observe(from, WorkerRecord::Metrics(metrics));
            }
            Record::Lost(lost) => {
                let LostRecord { logs, spans } = lost;
                state.lost.by_worker.add(logs.saturating_add(spans));
                self.observe(from, WorkerRecord::Lost(lost));
            }
            _ => {}
        }
    }

    fn observe(&self, from: RecordOrigin, record: WorkerRecord) {
        if let Some(observer) = &self.observer
            && self.wants.wants(&record)
        {
            self.subscriber
                .with_guarded(|| observer.record(from, record));
        }
    }

    fn log(&mut self, from: RecordOrigin, record: &LogRecord, foreign: bool, now: Instant) {
        let worker = from.worker;
        let stream = match record.stream.as_deref() {
            None => {
                let subscriber = &self.subscriber;
                return subscriber.with_guarded(|| python_log::emit(worker, record));
            }
            Some("stderr") => Stream::Stderr,
            Some(_) => Stream::Stdout,
        };
        if !self.prints {
            return;
        }
        let state = &mut self.workers[worker];
        let writer = match stream {
            Stream::Stdout => &mut state.stdout,
            Stream::Stderr => &mut state.stderr,
        };
        writer.lines(&record.message, Context::of(record, from.pid, foreign), now);
    }

    /// Logs the counts of lost records that are due, and lines that were held back for long enough. Returns when to do
    /// so again.
    pub(crate) fn after_batch(&mut self) -> Option<Instant> {
        let (now, subscriber) = (Instant::now(), &self.subscriber);
        let workers = self.workers.iter_mut().enumerate();
        workers
            .filter_map(|(worker, state)| state.log_due(worker, subscriber, now))
            .min()
    }
}

impl Worker {
    /// Returns when the next event is due.
    fn log_due(&mut self, id: usize, subscriber: &Subscriber, now: Instant) -> Option<Instant> {
        self.stdout.tick(now);
        self.stderr.tick(now);
        self.lost.log_due(id, subscriber, now);
        let held = [self.stdout.deadline(), self.stderr.deadline()];
        held.into_iter().flatten().chain(self.lost.due(now)).min()
    }

    /// Nothing more arrives from this worker.
    fn log_all(&mut self, id: usize, subscriber: &Subscriber, now: Instant) {
        self.stdout.flush();
        self.stderr.flush();
        self.lost.log_all(id, subscriber, now);
    }
}

/// Keeps a printed line for the explanation of the worker's death, because it did not come through the pipes.
fn keep_print(record: &Record, inbound: &RecordBatch) {
    if let (Record::Log(log), Some(tail)) = (record, &inbound.tail)
        && log.stream.is_some()
    {
        tail.keep(log.message.as_bytes());
        tail.keep(b"\n");
    }
}

/// Cuts texts that are longer than a worker of ours sends. Each text is an event's field, and fields beyond the limit
/// are left out.
fn bound(log: &mut LogRecord) {
    let texts = [&mut log.logger, &mut log.message].into_iter();
    let others = [
        &mut log.thread,
        &mut log.exception,
        &mut log.stack,
        &mut log.function,
    ];
    for text in texts.chain(others.into_iter().flatten()) {
        cut(text, LONGEST);
    }
    let mut room = LONGEST;
    let mut fits = |name: &str, value: usize| {
        let size = name.len() + value;
        let fits = size <= room;
        room -= if fits { size } else { 0 };
        fits
    };
    log.baggage.retain(|name, value| fits(name, value.len()));
    log.fields
        .retain(|name, value| fits(name, value.to_string().len()));
}

/// Whether it is a log record as workers of ours write them. It does not parse the line, because there may be a flood
/// of them.
fn is_log(line: &[u8]) -> bool {
    line.starts_with(br#"{"type":"log""#)
}

impl fmt::Debug for RecordHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordHandler").finish_non_exhaustive()
    }
}
