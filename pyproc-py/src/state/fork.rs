//! Whether this process is one that a function forked. It has the worker's sockets, but must not
//! use them.

use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between the first process and this one.
#[derive(Clone, Copy)]
pub(crate) struct ForkCount(u32);

pub(super) fn count() -> ForkCount {
    ForkCount(FORKS.load(Ordering::Relaxed))
}

/// Python calls this in each process that it has forked.
pub(crate) fn on_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

impl ForkCount {
    /// Whether a fork has happened since the count.
    pub(crate) fn has_forked(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}
