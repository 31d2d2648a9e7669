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
/// A call that ends leaves its deadline behind, which costs it nothing. Such deadlines are dropped when their time comes,
/// or all together once there are more of them than of calls. So each call pays for a few looks, however many wait.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    /// When whoever drives the scheduler looks next.
    armed: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timer {
    deadline: Instant,
    id: CallId,
}

/// Deadlines of calls that have ended may be this many more than calls.
const SLACK: usize = 256;

/// Deadlines that one call of [`Timers::pass`] looks at: nobody else can reach the scheduler meanwhile.
const MOST_AT_ONCE: usize = 1024;

impl Timers {
    /// Adds the deadline of a call that has just been entered. Returns whether it is the earliest.
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

    /// Hands out the calls whose deadlines have passed by `now`: all of them, or as many as one look may take.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        calls: &mut CallTable,
        mut on_passed: impl FnMut(&mut Call),
    ) {
        for _ in 0..MOST_AT_ONCE {
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
