//! Wakes callers whose deadlines have passed, in one thread of the pool. A runtime's timer for each call would be a
//! seventh of what a call costs the service, and callers would need a runtime. The thread also logs the count of
//! rejected calls when no other rejection does.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

#[cfg(feature = "testing")]
use crate::clock::Clock;
use crate::{shared::Shared, sync::thread};

/// Ends the thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Deadlines {
    shared: Arc<Shared>,
}

/// The shortest pause between two looks at deadlines that follow each other closely.
const REST: Duration = Duration::from_millis(1);

impl Deadlines {
    pub(crate) fn watch(shared: Arc<Shared>) -> io::Result<Self> {
        let watched = Arc::clone(&shared);
        #[cfg(feature = "testing")]
        if shared.clock == Clock::Tokio {
            tokio::spawn(run_by_tokio(watched));
            return Ok(Self { shared });
        }
        thread::Builder::new()
            .name("pyproc-deadlines".into())
            .stack_size(256 * 1024)
            .spawn(move || run(&watched))?;
        Ok(Self { shared })
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.shared.driver.stop();
        let refused = self.shared.refusals().take_all(self.shared.clock.now());
        self.shared.log_refused(refused);
    }
}

fn run(shared: &Shared) {
    let driver = &shared.driver;
    while let Some(now) = driver.wait_for_deadline(|now| shared.refusals().due(now)) {
        if !pass(shared, now) {
            thread::sleep(REST);
        }
    }
}

/// A task in place of the thread, for tests that may pause the clock.
#[cfg(feature = "testing")]
async fn run_by_tokio(shared: Arc<Shared>) {
    let due = |now| shared.refusals().due(now);
    while let Some(now) = shared.driver.deadline_by_tokio(due).await {
        pass(&shared, now);
    }
}

/// Wakes callers whose deadlines have passed, and logs rejections. Returns whether more deadlines are due.
fn pass(shared: &Shared, now: Instant) -> bool {
    let mut scheduler = shared.driver.lock();
    scheduler.on_time(now);
    let is_more_due = scheduler.next_deadline().is_some_and(|next| next <= now);
    drop(scheduler);
    let refused = shared.refusals().take(now);
    shared.log_refused(refused);
    is_more_due
}
