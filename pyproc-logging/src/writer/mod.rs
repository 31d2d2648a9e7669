//! The way of lines to their output: a bounded queue and one thread, or none of both.
//!
//! Not `tracing-appender`: its queue is bounded in lines but not in bytes and allocates each, each line is a write
//! of its own, failed writes are not counted, and its end waits for a fixed second, or a tenth of one
//! if the queue is full.

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
        if is_writing() {
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
        self.counts.stats()
    }
}
