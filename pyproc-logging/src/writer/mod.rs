//! The way of lines to their output: a bounded queue and one thread, or none of both.
//!
//! Not `tracing-appender`: its queue is bounded in lines but not in bytes and allocates each, each line is a write
//! of its own, failed writes are not counted, and its end waits for a fixed second, or a tenth of one
//! if the queue is full.

mod color;
mod destination;
mod output;
mod queue;

use std::{
    cell::Cell,
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use color::wanted as wants_color;
pub(crate) use destination::Destination;
use output::Output;
use queue::Queue;

/// Writes the line that says how many were dropped.
pub(crate) type Notice = Box<dyn Fn(u64, &mut Vec<u8>) + Send>;

#[derive(Debug)]
pub(crate) struct Writer {
    way: Way,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Way {
    /// Through the thread that writes.
    Queued(Queue),
    /// In the thread that logs.
    Direct(Mutex<Output>),
}

/// What became of the lines so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoggingStats {
    /// Lines that the output took. Lines about dropped lines are not counted.
    pub written: u64,
    /// Lines that were given up, because too much waited for the output already, or because the log was
    /// closed.
    pub dropped: u64,
    /// Lines that the output refused, at least in part.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// How much may wait for the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

impl Writer {
    /// With a limit of 0 lines, nothing waits.
    pub(crate) fn start(
        output: Box<dyn Write + Send>,
        limits: Limits,
        notice: Notice,
    ) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let output = Output::new(output);
        let way = if limits.lines == 0 {
            Way::Direct(Mutex::new(output))
        } else {
            Way::Queued(Queue::start(output, limits, notice, Arc::clone(&counts))?)
        };
        Ok(Self { way, counts })
    }

    /// Takes a whole line, its end included.
    pub(crate) fn write(&self, line: &[u8]) {
        if WRITING.get() {
            return;
        }
        match &self.way {
            Way::Queued(queue) => queue.push(line),
            Way::Direct(output) => {
                let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                self.counts.settle(1, while_writing(|| output.write(line)));
            }
        }
    }

    /// Waits until all lines so far are written, or refused by the output.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        match &self.way {
            Way::Queued(queue) => queue.flush(timeout),
            Way::Direct(_) => true,
        }
    }

    /// Flushes, and takes no more.
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        match &self.way {
            Way::Queued(queue) => queue.close(timeout),
            Way::Direct(_) => true,
        }
    }

    pub(crate) fn stats(&self) -> LoggingStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LoggingStats {
            written: read(&self.counts.written),
            dropped: read(&self.counts.dropped),
            failed: read(&self.counts.failed),
        }
    }
}

impl Counts {
    fn settle(&self, lines: u64, result: io::Result<()>) {
        let count = if result.is_ok() {
            &self.written
        } else {
            &self.failed
        };
        count.fetch_add(lines, Ordering::Relaxed);
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// Whether this thread is in the code of an output. What that logs is ignored, as it would feed itself
    /// without end, or wait for its own lock.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

fn while_writing<T>(write: impl FnOnce() -> T) -> T {
    /// Also after a panic.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            WRITING.set(false);
        }
    }
    WRITING.set(true);
    let _reset = Reset;
    write()
}
