//! What becomes of what workers report: events of their log records, and the rest for the observer.

use std::{fmt, sync::Arc, time::Instant};

use pyproc_protocol::{
    Features,
    v2::telemetry::{LogRecord, LostRecord, Record},
};

use crate::{
    events::Subscriber,
    lines::{Context, Rate, Stream, Tally, Transcript},
    observe::{Observer, Reporter, Wants, WorkerRecord},
    python_log,
    records::Inbound,
};

/// Who is told.
pub(crate) struct Reports {
    pub(crate) subscriber: Subscriber,
    observer: Option<Arc<dyn Observer>>,
    wants: Wants,
    /// What is printed goes where the output of the process goes: nowhere, if so.
    prints: bool,
    workers: Vec<Worker>,
}

/// What is kept of one worker from one batch to the next.
struct Worker {
    rate: Rate,
    stdout: Transcript,
    stderr: Transcript,
    lost: Lost,
}

/// What will never be told, and is counted.
#[derive(Default)]
struct Lost {
    /// By the worker, as the pool did not read fast enough.
    by_worker: Tally,
    /// Frames, as this thread was not fast enough.
    frames: Tally,
    /// Log records beyond `log_rate`.
    over_rate: Tally,
    unreadable: Tally,
}

impl Reports {
    pub(crate) fn new(
        subscriber: Subscriber,
        observer: Option<Arc<dyn Observer>>,
        features: Features,
        prints: bool,
        log_rate: u32,
        workers: usize,
    ) -> Self {
        let now = Instant::now();
        let transcript = |worker, stream| Transcript::new(worker, stream, subscriber.clone());
        let worker = |worker| Worker {
            rate: Rate::new(log_rate, now),
            stdout: transcript(worker, Stream::Stdout),
            stderr: transcript(worker, Stream::Stderr),
            lost: Lost::default(),
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

    /// Tells of what one worker has sent.
    pub(crate) fn take(&mut self, inbound: &Inbound) {
        let (now, worker) = (Instant::now(), inbound.worker);
        let state = &mut self.workers[worker];
        state.lost.frames.add(inbound.dropped);
        let from = Reporter {
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
            match Record::read_line(line) {
                Ok(Some(record)) => {
                    keep_print(&record, inbound);
                    self.tell(from, record, now);
                }
                // Of a later release.
                Ok(None) => {}
                Err(_) => state.lost.unreadable.add(1),
            }
        }
        if inbound.is_last {
            self.workers[worker].say_all(worker, &self.subscriber, now);
        }
    }

    fn tell(&mut self, from: Reporter, record: Record, now: Instant) {
        let state = &mut self.workers[from.worker];
        match record {
            Record::Log(log) if state.rate.take(now) => self.log(from, &log, now),
            Record::Log(_) => state.lost.over_rate.add(1),
            Record::Span(span) => self.observe(from, WorkerRecord::Span(span)),
            Record::Metrics(metrics) => self.observe(from, WorkerRecord::Metrics(metrics)),
            Record::Lost(lost) => {
                let LostRecord { logs, spans } = lost;
                state.lost.by_worker.add(logs.saturating_add(spans));
                self.observe(from, WorkerRecord::Lost(lost));
            }
            _ => {}
        }
    }

    fn observe(&self, from: Reporter, record: WorkerRecord) {
        if let Some(observer) = &self.observer
            && self.wants.wants(&record)
        {
            self.subscriber
                .with_guarded(|| observer.record(from, record));
        }
    }

    fn log(&mut self, from: Reporter, record: &LogRecord, now: Instant) {
        let worker = from.worker;
        let stream = match record.stream.as_deref() {
            None => {
                let subscriber = &self.subscriber;
                return subscriber.with_guarded(|| python_log::say(worker, record));
            }
            Some("stderr") => Stream::Stderr,
            Some(_) => Stream::Stdout,
        };
        if !self.prints {
            return;
        }
        let state = &mut self.workers[worker];
        let transcript = match stream {
            Stream::Stdout => &mut state.stdout,
            Stream::Stderr => &mut state.stderr,
        };
        transcript.line(&record.message, Context::of(record, from.pid), now);
    }

    /// Says what was lost, and what was held back for long enough. Returns when to do so again.
    pub(crate) fn after_batch(&mut self) -> Option<Instant> {
        let (now, subscriber) = (Instant::now(), &self.subscriber);
        let workers = self.workers.iter_mut().enumerate();
        workers
            .filter_map(|(worker, state)| state.say_due(worker, subscriber, now))
            .min()
    }
}

impl Worker {
    /// Returns when there is something to say again.
    fn say_due(&mut self, id: usize, subscriber: &Subscriber, now: Instant) -> Option<Instant> {
        self.stdout.tick(now);
        self.stderr.tick(now);
        subscriber.with_guarded(|| self.lost.say(id, |tally| tally.take(now)));
        let held = [self.stdout.deadline(), self.stderr.deadline()];
        held.into_iter().flatten().chain(self.lost.due(now)).min()
    }

    /// Nothing more arrives from this one.
    fn say_all(&mut self, id: usize, subscriber: &Subscriber, now: Instant) {
        self.stdout.flush();
        self.stderr.flush();
        subscriber.with_guarded(|| self.lost.say(id, |tally| tally.take_all(now)));
    }
}

impl Lost {
    fn all(&mut self) -> [(&mut Tally, &'static str); 4] {
        [
            (&mut self.by_worker, "the worker could not send"),
            (&mut self.frames, "frames that there was no room for"),
            (&mut self.over_rate, "log records over log_rate"),
            (&mut self.unreadable, "unreadable"),
        ]
    }

    fn say(&mut self, worker_id: usize, take: impl Fn(&mut Tally) -> Option<u64>) {
        for (tally, reason) in self.all() {
            if let Some(count) = take(tally) {
                tracing::warn!(target: "pyproc::pool", worker_id, count, reason, "records lost");
            }
        }
    }

    fn due(&mut self, now: Instant) -> Option<Instant> {
        self.all()
            .iter()
            .filter_map(|(tally, _)| tally.due(now))
            .min()
    }
}

/// A line that did not come through the pipes is kept for the worker's death all the same.
fn keep_print(record: &Record, inbound: &Inbound) {
    if let (Record::Log(log), Some(tail)) = (record, &inbound.tail)
        && log.stream.is_some()
    {
        tail.keep(log.message.as_bytes());
        tail.keep(b"\n");
    }
}

/// Whether it is a log record, as workers of ours write them, without reading it: there may be a flood of them.
fn is_log(line: &[u8]) -> bool {
    line.starts_with(br#"{"type":"log""#)
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").finish_non_exhaustive()
    }
}
