use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Instant,
};

use super::{
    call_table::{Call, CallTable},
    ids::CallId,
};

/// The deadlines of calls, the earliest first.
///
/// A completed call leaves its deadline behind. Such deadlines are dropped when their time comes, or all together when
/// they outnumber the calls. So the cost of each call does not depend on the number of calls.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    /// When the driver calls `on_time` next.
    armed: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timer {
    deadline: Instant,
    id: CallId,
}

/// The heap may have this many more deadlines than twice the calls.
const SLACK: usize = 256;

/// The most deadlines that one call of [`Timers::pass`] handles: it runs under the driver's lock.
const MAX_AT_ONCE: usize = 1024;

impl Timers {
    /// Adds the deadline of a new call. Returns whether it is the earliest.
    #[inline]
    pub(super) fn add(&mut self, deadline: Instant, id: CallId, calls: &CallTable) -> bool {
        if self.heap.len() > 2 * calls.len() + SLACK {
            self.drop_ended(calls);
        }
        self.heap.push(Reverse(Timer { deadline, id }));
        let is_earliest = self.armed.is_none_or(|next| deadline < next);
        if is_earliest {
            self.armed = Some(deadline);
        }
        is_earliest
    }

    #[cold]
    fn drop_ended(&mut self, calls: &CallTable) {
        self.heap.retain(|Reverse(timer)| timer.is_awaited(calls));
    }

    /// When [`pass`](Self::pass) is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.armed
    }

    /// Calls `on_passed` for the calls whose deadlines are not later than `now`, up to [`MAX_AT_ONCE`].
    pub(super) fn pass(
        &mut self,
        now: Instant,
        calls: &mut CallTable,
        mut on_passed: impl FnMut(&mut Call),
    ) {
        for _ in 0..MAX_AT_ONCE {
            let Some(Reverse(timer)) = self.heap.peek().copied() else {
                break;
            };
            let is_awaited = timer.is_awaited(calls);
            if is_awaited && timer.deadline > now {
                break;
            }
            self.heap.pop();
            if is_awaited && let Some(call) = calls.get_mut(timer.id) {
                on_passed(call);
            }
        }
        self.armed = self.heap.peek().map(|Reverse(timer)| timer.deadline);
    }
}

impl Timer {
    fn is_awaited(self, calls: &CallTable) -> bool {
        #[cfg(test)]
        tests::count();
        calls
            .get(self.id)
            .is_some_and(|call| call.state.is_awaited())
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        tests::count();
        let by_deadline = self.deadline.cmp(&other.deadline);
        by_deadline.then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
