use std::{sync::Arc, time::Duration};

use crate::{Levels, LoggingStats, levels::SharedLevels, writer::Writer};

/// The log of a running program: for changing its level and asking how it fares. Clones
/// are the same log.
#[derive(Debug, Clone)]
pub struct LoggingHandle {
    levels: SharedLevels,
    writer: Arc<Writer>,
}

impl LoggingHandle {
    pub(crate) fn new(levels: SharedLevels, writer: Arc<Writer>) -> Self {
        Self { levels, writer }
    }

    /// Changes which events are logged, from now on and in all threads. Spans that are open stay
    /// as they are: one that was not kept gives later lines no fields.
    ///
    /// All places in the program that log are asked anew, so this is for an operator, not for each request.
    pub fn set_level(&self, levels: impl Into<Levels>) {
        self.levels.set(&levels.into());
    }

    /// What became of the lines so far.
    pub fn stats(&self) -> LoggingStats {
        self.writer.stats()
    }

    /// Waits until all lines so far are written, or refused by the output. False if that took longer
    /// than the limit. Blocks the thread, so async code calls it by `spawn_blocking` or at its very end.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.writer.flush(timeout)
    }
}

/// Keeps the log going. Dropped, it waits until all lines are written, at most for `flush_timeout`; later lines
/// are dropped.
///
/// Keep it in `main` to the end. `std::process::exit`, an abort and a signal that kills
/// the process skip it, and lose the lines that wait then.
#[derive(Debug)]
#[must_use = "lines that wait are lost unless this lives to the end of the program"]
pub struct LoggingGuard {
    handle: LoggingHandle,
    flush_timeout: Duration,
}

impl LoggingGuard {
    pub(crate) fn new(handle: LoggingHandle, flush_timeout: Duration) -> Self {
        Self {
            handle,
            flush_timeout,
        }
    }

    /// A handle, which may outlive the guard.
    pub fn handle(&self) -> LoggingHandle {
        self.handle.clone()
    }
}

impl Drop for LoggingGuard {
    fn drop(&mut self) {
        self.handle.writer.close(self.flush_timeout);
    }
}
