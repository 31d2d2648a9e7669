//! Counts records that are lost, and logs the counts with the first cause.

use std::time::Instant;

use crate::{events::Subscriber, output::Tally, text::cut};

/// The lost records of one worker.
#[derive(Default)]
pub(crate) struct LostRecords {
    /// Dropped by the worker, because the pool did not read fast enough.
    pub(crate) by_worker: Tally,
    /// Dropped by the pool, because its queue was full.
    pub(crate) without_room: Tally,
    /// Log records beyond `log_rate`.
    pub(crate) over_rate: Tally,
    pub(crate) unreadable: Unreadable,
}

/// Records that cannot be read.
#[derive(Default)]
pub(crate) struct Unreadable {
    tally: Tally,
    /// The error of the first of them.
    cause: Option<String>,
}

/// The longest cause. A cause may quote the record.
const LONGEST_CAUSE: usize = 512;

impl Unreadable {
    pub(crate) fn add(&mut self, count: u64, cause: impl FnOnce() -> String) {
        self.tally.add(count);
        self.cause.get_or_insert_with(|| {
            let mut cause = cause();
            cut(&mut cause, LONGEST_CAUSE);
            cause
        });
    }
}

impl LostRecords {
    /// Logs the counts that are due.
    pub(crate) fn log_due(&mut self, worker: usize, subscriber: &Subscriber, now: Instant) {
        self.log(worker, subscriber, |tally| tally.take(now));
    }

    /// Logs all counts, because no record follows.
    pub(crate) fn log_all(&mut self, worker: usize, subscriber: &Subscriber, now: Instant) {
        self.log(worker, subscriber, |tally| tally.take_all(now));
    }

    /// When the next count is to be logged.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let Self {
            by_worker,
            without_room,
            over_rate,
            unreadable,
        } = self;
        [by_worker, without_room, over_rate, &unreadable.tally]
            .iter()
            .filter_map(|tally| tally.due(now))
            .min()
    }

    fn log(
        &mut self,
        worker_id: usize,
        subscriber: &Subscriber,
        take: impl Fn(&mut Tally) -> Option<u64>,
    ) {
        let Self {
            by_worker,
            without_room,
            over_rate,
            unreadable: Unreadable { tally, cause },
        } = self;
        let log = |tally: &mut Tally, reason: &str, cause: &mut Option<String>| {
            if let Some(count) = take(tally) {
                let error = cause.take();
                subscriber.with_guarded(
                    || tracing::warn!(target: "pyproc::pool", worker_id, count, reason, error, "records lost"),
                );
            }
        };
        log(by_worker, "the worker could not send", &mut None);
        log(without_room, "there was no room for them", &mut None);
        log(over_rate, "log records over log_rate", &mut None);
        log(tally, "unreadable", cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_is_kept_and_bounded() {
        let mut unreadable = Unreadable::default();
        unreadable.add(1, || "é".repeat(LONGEST_CAUSE));
        unreadable.add(1, || "another".into());
        let cause = unreadable.cause.unwrap();
        assert!(cause.starts_with('é') && cause.ends_with("(cut)"));
        assert!(cause.len() < LONGEST_CAUSE + 20);
    }
}
