//! How the watcher knows, without a lock, what the serving thread does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;

/// Counts functions that began and turns that ended: odd while a function runs.
pub(crate) struct Pulse {
    count: AtomicU64,
    asleep: AtomicBool,
    stopped: AtomicBool,
    watcher: Mutex<Option<Thread>>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            watcher: Mutex::new(None),
        }
    }

    /// A function begins. Only the serving thread says so.
    pub(crate) fn begin(&self) {
        let next = (self.count.load(Ordering::Relaxed) | 1) + 2;
        self.count.store(next, Ordering::Release);
    }

    /// No function runs. Only the serving thread says so.
    pub(crate) fn end(&self) {
        let next = (self.count.load(Ordering::Relaxed) | 1) + 1;
        self.count.store(next, Ordering::Release);
    }

    /// Functions are going to run: the watcher must not be asleep. Only the serving thread says so.
    pub(crate) fn rouse(&self) {
        // Either this sees that the watcher sleeps, or that sees the count that was stored before.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            self.unpark();
        }
    }

    /// What the watcher compares.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether the watcher may sleep without end, given what it saw last. `rouse` wakes it.
    pub(crate) fn fall_asleep(&self, seen: u64) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.count() == seen && !self.is_stopped() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }

    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Ends the watcher.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.asleep.store(false, Ordering::SeqCst);
        self.unpark();
    }

    pub(crate) fn watched_by(&self, thread: Thread) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    fn unpark(&self) {
        if let Some(watcher) = &*self.watcher.lock().unwrap_or_else(PoisonError::into_inner) {
            watcher.unpark();
        }
    }
}
