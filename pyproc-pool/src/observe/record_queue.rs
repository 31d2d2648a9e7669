//! Brings the records of workers from their connections to a thread of the pool, which may take its time.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::watch, time::timeout};

use super::{record_batch::RecordBatch, record_handler::RecordHandler};
use crate::output::Tail;

/// The queue of records. Its thread ends when it is dropped.
#[derive(Debug)]
pub(crate) struct RecordQueue {
    queue: Arc<Queue>,
    /// Handles the records. The thread, which starts with the first frame, takes it.
    reports: Mutex<Option<RecordHandler>>,
}

/// Sends the records of one worker's connection to the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordSender<'a> {
    queue: &'a RecordQueue,
    producer: usize,
}

impl RecordSender<'_> {
    /// See [`RecordQueue::push`].
    pub(crate) fn push(self, frames: impl Iterator<Item = Bytes>, too_long: u64) {
        self.queue.push(self.producer, frames, too_long);
    }
}

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrival: Condvar,
    /// How many batches have been handled, for tasks that wait for that.
    handled: watch::Sender<u64>,
}

#[derive(Debug)]
struct Waiting {
    /// One batch for the worker of each slot, and a last one for a worker that was replaced.
    producers: Vec<RecordBatch>,
    /// Batches of workers that are gone.
    late: Vec<RecordBatch>,
    /// Number of the batch that is being collected.
    batch: u64,
    /// The thread sleeps, and must be woken.
    asleep: bool,
    closed: bool,
}

/// How long the thread collects before it reads again, because each wake-up costs its connection.
const NAP: Duration = Duration::from_millis(1);

/// How long a worker's end may wait for the last of its records.
const LAST_RECORDS: Duration = Duration::from_millis(500);

impl RecordQueue {
    pub(crate) fn new(workers: usize, reports: RecordHandler) -> Self {
        let waiting = Waiting {
            producers: (0..=workers).map(|_| RecordBatch::default()).collect(),
            late: Vec::new(),
            batch: 0,
            asleep: false,
            closed: false,
        };
        let queue = Queue {
            waiting: Mutex::new(waiting),
            arrival: Condvar::new(),
            handled: watch::Sender::new(0),
        };
        Self {
            queue: Arc::new(queue),
            reports: Mutex::new(Some(reports)),
        }
    }

    /// Another process reports for this worker from now on.
    pub(crate) fn begin(&self, worker: usize, pid: Option<u32>, foreign: bool, tail: Option<Tail>) {
        let next = RecordBatch {
            worker,
            pid,
            foreign,
            tail,
            ..RecordBatch::default()
        };
        self.queue.lock().begin(next);
    }

    /// The worker was replaced. Returns its new number as a producer: the last one, so there is one such worker at a time.
    pub(crate) fn replaced(&self, worker: usize) -> usize {
        let mut waiting = self.queue.lock();
        let last = waiting.producers.len() - 1;
        waiting.producers.swap(worker, last);
        last
    }

    /// The sender of the worker with this number.
    pub(crate) fn sender(&self, producer: usize) -> RecordSender<'_> {
        RecordSender {
            queue: self,
            producer,
        }
    }

    /// Takes frames, and the number of those that were too long to be read. Never waits: records that do not fit are
    /// dropped and counted.
    fn push(&self, producer: usize, frames: impl Iterator<Item = Bytes>, too_long: u64) {
        let mut waiting = self.queue.lock();
        let inbound = &mut waiting.producers[producer];
        frames.for_each(|frame| inbound.push(&frame));
        inbound.too_long += too_long;
        if mem::take(&mut waiting.asleep) {
            drop(waiting);
            self.queue.arrival.notify_one();
            return;
        }
        drop(waiting);
        self.start_thread();
    }

    fn start_thread(&self) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reports) = reports.take() else {
            return;
        };
        let queue = Arc::clone(&self.queue);
        let subscriber = reports.subscriber.clone();
        let started = thread::Builder::new()
            .name("pyproc-records".into())
            .stack_size(1024 * 1024)
            .spawn(move || run(&queue, reports));
        if let Err(error) = started {
            subscriber.with_guarded(
                || tracing::error!(target: "pyproc::pool", %error, "no thread for what workers report"),
            );
        }
    }

    /// Waits until all records of this worker, which is gone, are handled, but not for long.
    pub(crate) async fn settled(&self, producer: usize) {
        let mut handled = self.queue.handled.subscribe();
        let batch = {
            let mut waiting = self.queue.lock();
            if waiting.batch == 0 && waiting.is_empty() {
                return;
            }
            waiting.producers[producer].is_last = true;
            waiting.asleep = false;
            waiting.batch
        };
        self.queue.arrival.notify_one();
        let _ = timeout(LAST_RECORDS, handled.wait_for(|handled| *handled > batch)).await;
    }
}

impl Drop for RecordQueue {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.arrival.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what has arrived, or until `deadline`, and takes it.
    fn take(&self, batch: &mut [RecordBatch], deadline: Option<Instant>) -> Taken {
        let mut waiting = self.lock();
        while !waiting.is_worth_a_look() {
            waiting.asleep = true;
            let rest = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            waiting = match rest {
                None => self.wait(waiting),
                Some(Duration::ZERO) => break,
                Some(rest) => self.wait_for(waiting, rest),
            };
        }
        waiting.asleep = false;
        for (inbound, empty) in waiting.producers.iter_mut().zip(batch) {
            inbound.swap(empty);
        }
        waiting.batch += 1;
        Taken {
            late: mem::take(&mut waiting.late),
            number: waiting.batch,
            last: waiting.closed,
        }
    }

    /// Waits a moment for more records, unless a task waits.
    fn nap(&self) {
        let waiting = self.lock();
        if !waiting.is_urgent() {
            drop(self.wait_for(waiting, NAP));
        }
    }

    fn wait<'a>(&self, waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        let woken = self.arrival.wait(waiting);
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        limit: Duration,
    ) -> MutexGuard<'a, Waiting> {
        let woken = self.arrival.wait_timeout(waiting, limit);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Waiting {
    fn begin(&mut self, next: RecordBatch) {
        let most = self.producers.len();
        let producer = &mut self.producers[next.worker];
        let before = mem::replace(producer, next);
        if before.is_empty() && !before.is_last {
            return;
        }
        if self.late.len() < most {
            self.late.push(before);
        } else {
            producer.dropped = before.all();
        }
    }

    fn is_empty(&self) -> bool {
        self.late.is_empty() && self.producers.iter().all(RecordBatch::is_empty)
    }

    fn is_worth_a_look(&self) -> bool {
        self.is_urgent() || !self.is_empty()
    }

    /// Whether a task waits for the thread.
    fn is_urgent(&self) -> bool {
        self.closed || self.producers.iter().any(|it| it.is_last)
    }
}

struct Taken {
    late: Vec<RecordBatch>,
    number: u64,
    /// The pool is gone.
    last: bool,
}

fn run(queue: &Queue, mut reports: RecordHandler) {
    let producers = queue.lock().producers.len();
    let mut batch: Vec<_> = (0..producers).map(|_| RecordBatch::default()).collect();
    let mut deadline = None;
    loop {
        let taken = queue.take(&mut batch, deadline);
        taken.late.iter().for_each(|inbound| reports.take(inbound));
        // A worker that was replaced started before the others.
        for inbound in batch.iter_mut().rev() {
            inbound.is_last |= taken.last;
            reports.take(inbound);
            inbound.clear();
        }
        deadline = reports.after_batch();
        queue.handled.send_replace(taken.number);
        if taken.last {
            return;
        }
        queue.nap();
    }
}
