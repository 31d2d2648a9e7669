//! From lines to their output: through a bounded queue and one thread, or directly. What must stay true: with a queue, a
//! thread that logs never waits for the output, and each line is counted once.
//!
//! Not `tracing-appender`: its queue is bounded in lines but not in bytes, and allocates each line. Each line is a
//! write of its own, and failed writes are not counted. Its end waits for a fixed second, or for a tenth of it if the
//! queue is full.

mod color;
mod counts;
mod destination;
mod output;
mod queue;
mod reentry;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub(crate) use color::wanted as wants_color;
use counts::Counts;
pub use counts::LoggingStats;
pub(crate) use destination::Destination;
use output::Output;
use queue::Queue;
pub(crate) use queue::{Limits, Notice};
use reentry::{is_writing, while_writing};

#[derive(Debug)]
pub(crate) struct Writer {
    mode: Mode,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Mode {
    /// Through the queue.
    Queued(Queue),
    /// By the thread that logs.
    Direct(Mutex<Output>),
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
        let mode = if limits.lines == 0 {
            Mode::Direct(Mutex::new(output))
        } else {
            Mode::Queued(Queue::start(output, limits, notice, Arc::clone(&counts))?)
        };
        Ok(Self { mode, counts })
    }

    /// Takes a whole line, its end included.
    pub(crate) fn write(&self, line: &[u8]) {
        if is_writing() {
            return;
        }
        match &self.mode {
            Mode::Queued(queue) => queue.push(line),
            Mode::Direct(output) => {
                let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                self.counts.settle(1, while_writing(|| output.write(line)));
            }
        }
    }

    /// Waits until all lines so far are written, or refused by the output.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        match &self.mode {
            Mode::Queued(queue) => queue.flush(timeout),
            Mode::Direct(_) => true,
        }
    }

    /// Flushes, and takes no more.
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        match &self.mode {
            Mode::Queued(queue) => queue.close(timeout),
            Mode::Direct(_) => true,
        }
    }

    pub(crate) fn stats(&self) -> LoggingStats {
        self.counts.stats()
    }
}
