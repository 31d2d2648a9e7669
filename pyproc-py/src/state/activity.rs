//! Whether the serving thread runs a function, as the watcher sees it without a lock; and the watcher's sleep.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;

/// Counts functions that begin and time slices that end: the count is odd while a function runs.
pub(crate) struct Activity {
    count: AtomicU64,
    asleep: AtomicBool,
    stopped: AtomicBool,
    watcher: Mutex<Option<Thread>>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            watcher: Mutex::new(None),
        }
    }

    /// A function begins. Only the serving thread calls this.
    pub(crate) fn begin_function(&self) {
        let next = (self.count.load(Ordering::Relaxed) | 1) + 2;
        self.count.store(next, Ordering::Release);
    }

    /// No function runs. Only the serving thread calls this.
    pub(crate) fn end_functions(&self) {
        let next = (self.count.load(Ordering::Relaxed) | 1) + 1;
        self.count.store(next, Ordering::Release);
    }

    /// Functions run from now on, so the watcher must be awake. Only the serving thread calls this.
    pub(crate) fn wake_watcher(&self) {
        // Either this thread sees that the watcher sleeps, or the watcher sees the count that was stored before.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            self.unpark();
        }
    }

    /// What the watcher compares with an earlier count.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether a function runs at this count.
    pub(crate) fn is_function(count: u64) -> bool {
        count % 2 == 1
    }

    /// Whether the watcher may sleep without a timeout, given the count that it saw last. `wake_watcher` ends the sleep.
    pub(crate) fn try_sleep(&self, seen: u64) -> bool {
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

    pub(crate) fn set_watcher(&self, thread: Thread) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    fn unpark(&self) {
        if let Some(watcher) = &*self.watcher.lock().unwrap_or_else(PoisonError::into_inner) {
            watcher.unpark();
        }
    }
}
