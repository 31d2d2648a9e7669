use std::{sync::Arc, time::Duration};

use crate::{Levels, LoggingStats, levels::SharedLevels, writer::Writer};

/// The log of a running program, to change its level and read its counts. Clones refer to the same log.
#[derive(Debug, Clone)]
pub struct LoggingHandle {
    levels: SharedLevels,
    writer: Arc<Writer>,
}

impl LoggingHandle {
    pub(crate) fn new(levels: SharedLevels, writer: Arc<Writer>) -> Self {
        Self { levels, writer }
    }

    /// Changes which events are logged, from now on and in all threads. Open spans stay as they are: a span that was
    /// not kept adds no fields to later lines.
    ///
    /// It rebuilds the cache of all callsites, so it is meant for an operator, not for each request.
    pub fn set_level(&self, levels: impl Into<Levels>) {
        self.levels.set(&levels.into());
    }

    /// The counts of lines so far.
    pub fn stats(&self) -> LoggingStats {
        self.writer.stats()
    }

    /// Waits until all lines so far are written, or refused by the output. Returns false if the limit passed first. It
    /// blocks the thread, so async code calls it by `spawn_blocking` or at its very end.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.writer.flush(timeout)
    }
}

/// Keeps the log open. Its drop waits until all lines are written, at most for `flush_timeout`. Later lines are
/// dropped.
///
/// Keep it in `main` to the end. `std::process::exit`, an abort and a signal that kills the process skip the drop, and
/// the waiting lines are lost.
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
