//! Who tells callers that their deadlines have passed: one thread of the pool's own. A timer of the
//! runtime for each call would cost a seventh of all that a call costs its service, and callers
//! would need a runtime. The thread also says how many calls were refused, when no other refusal does.

use std::{
    io,
    sync::Arc,
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use crate::shared::Shared;

/// Ends the thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Deadlines {
    shared: Arc<Shared>,
}

/// At least this time is between two looks at the calls, if deadlines follow each other closely.
const REST: Duration = Duration::from_millis(1);

/// And so many times what a look takes, as nobody else has the lock meanwhile: with 100,000 calls it is a millisecond.
const SHARE: u32 = 9;

impl Deadlines {
    pub(crate) fn watch(shared: Arc<Shared>) -> io::Result<Self> {
        let watched = Arc::clone(&shared);
        thread::Builder::new()
            .name("pyproc-deadlines".into())
            .stack_size(256 * 1024)
            .spawn(move || run(&watched))?;
        Ok(Self { shared })
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.shared.scheduler().forget_deadlines();
        self.shared.earlier_deadline.notify_one();
        let refused = self.shared.refusals().take_all(Instant::now());
        self.shared.log_refused(refused);
    }
}

fn run(shared: &Shared) {
    let mut wakers = Vec::new();
    let mut scheduler = shared.lock();
    while scheduler.keeps_deadlines() {
        let now = Instant::now();
        let refusals_due = shared.refusals().due(now);
        let next = scheduler
            .next_deadline()
            .into_iter()
            .chain(refusals_due)
            .min();
        let left = next.map(|next| next.saturating_duration_since(now));
        if left != Some(Duration::ZERO) {
            scheduler = shared.wait_for_deadline(scheduler, left);
            continue;
        }
        scheduler.pass_deadlines(now, &mut wakers);
        drop(scheduler);
        let rest = REST.max(now.elapsed() * SHARE);
        wakers.drain(..).for_each(Waker::wake);
        let refused = shared.refusals().take(now);
        shared.log_refused(refused);
        thread::sleep(rest);
        scheduler = shared.lock();
    }
}
