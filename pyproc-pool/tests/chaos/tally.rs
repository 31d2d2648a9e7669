//! Counts of what became of calls, and the longest pause that the machine itself made.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// How often the canary wakes.
const CANARY: Duration = Duration::from_millis(1);

/// Added to the canary's pauses: two threads wake one after the other before a caller sees its timeout.
const WAKE_UPS: u32 = 2;
const SLACK: Duration = Duration::from_millis(50);

pub(crate) struct Tally {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    begun: AtomicU64,
    ended: AtomicU64,
    /// Of answers that carried the token of another call.
    crossed: AtomicU64,
    /// By how much a call ended after its deadline, at worst.
    latest: Mutex<Duration>,
    canary: Canary,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            counts: Mutex::default(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            crossed: AtomicU64::new(0),
            latest: Mutex::default(),
            canary: Canary::start(),
        }
    }

    /// The token of the next call.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Relaxed)
    }

    /// A call has ended, `late` after its deadline.
    pub(crate) fn end(&self, outcome: &'static str, late: Duration) {
        self.ended.fetch_add(1, Relaxed);
        self.count(outcome);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = late.max(*latest);
    }

    pub(crate) fn cross(&self) {
        self.crossed.fetch_add(1, Relaxed);
    }

    pub(crate) fn count(&self, what: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what).or_default() += 1;
    }

    pub(crate) fn verdict(&self) -> Result<()> {
        let crossed = self.crossed.load(Relaxed);
        ensure!(crossed == 0, "{crossed} calls got the answer of another");
        let (begun, ended) = (self.begun.load(Relaxed), self.ended.load(Relaxed));
        ensure!(begun == ended, "{begun} calls began, {ended} ended");
        ensure!(ended > 0, "no call was made");
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = self.canary.longest() * WAKE_UPS + SLACK;
        ensure!(
            latest <= allowed,
            "a call ended {latest:?} after its deadline, more than {allowed:?}"
        );
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, count) in &*counts {
            writeln!(f, "{count:>9}  {what}")?;
        }
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(f, "{:>9}  calls", self.ended.load(Relaxed))?;
        writeln!(
            f,
            "latest after its deadline {latest:?}; the machine's longest pause {:?}",
            self.canary.longest()
        )
    }
}

/// A thread that does nothing but wake: how late it wakes is the machine's fault.
struct Canary {
    longest: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Canary {
    fn start() -> Self {
        let (longest, ended) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (longest_seen, has_ended) = (Arc::clone(&longest), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            while !has_ended.load(Relaxed) {
                let begin = Instant::now();
                thread::sleep(CANARY);
                let pause = begin.elapsed().saturating_sub(CANARY);
                longest_seen.fetch_max(pause.as_micros() as u64, Relaxed);
            }
        });
        Self {
            longest,
            ended,
            thread: Some(thread),
        }
    }

    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Relaxed))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
