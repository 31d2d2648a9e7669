//! Whether this process is one that a function forked: it has the worker's sockets, but must not
//! use them.

use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How often a process had been forked off, on the way to this one.
#[derive(Clone, Copy)]
pub(crate) struct Count(u32);

pub(crate) fn count() -> Count {
    Count(FORKS.load(Ordering::Relaxed))
}

/// Python says so in each process that it has forked.
pub(crate) fn on_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

impl Count {
    /// Whether this is another process than when the forks were counted.
    pub(crate) fn has_forked(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}
