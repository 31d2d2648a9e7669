/// What became of the sampled spans that ended.
///
/// No span is counted twice or left out: [`ended`](Self::ended) is the sum of `exported`, `refused`, `failed`,
/// `queue_full`, `shut_down`, `lost_in_worker`, `malformed` and `waiting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExportStats {
    /// Delivered: the destination confirmed them.
    pub exported: u64,
    /// Refused by the destination for good.
    pub refused: u64,
    /// Not delivered: the destination was not there, too slow or overloaded.
    pub failed: u64,
    /// Dropped because the queue was full.
    pub queue_full: u64,
    /// Dropped because the shutdown ended before they were confirmed, or because they ended after it.
    pub shut_down: u64,
    /// Made in a worker, and lost there or on the way to the pool, which was too busy.
    pub lost_in_worker: u64,
    /// Made in a worker, and refused here: not sampled, not below a call, or with an end before the start.
    pub malformed: u64,
    /// Waiting, or being sent.
    pub waiting: u64,
    /// Batches that failed or were refused as a whole.
    pub failures: u64,
    /// Unsampled spans that tail sampling dropped undecided, as it could not hold them. They are not part of `ended`.
    pub evicted: u64,
}

impl ExportStats {
    /// Sampled spans that ended.
    pub fn ended(&self) -> u64 {
        self.lost().saturating_add(self.exported + self.waiting)
    }

    /// Sampled spans that were lost for good.
    pub fn lost(&self) -> u64 {
        let here = self.refused + self.failed + self.queue_full + self.shut_down + self.malformed;
        // A worker may report any number.
        here.saturating_add(self.lost_in_worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_say_what_it_likes() {
        let stats = ExportStats {
            exported: 1,
            refused: 1,
            waiting: 1,
            lost_in_worker: u64::MAX,
            ..ExportStats::default()
        };
        assert_eq!((stats.lost(), stats.ended()), (u64::MAX, u64::MAX));
    }
}
