use std::collections::VecDeque;

use super::{
    call_table::{CallState, CallTable},
    ids::CallId,
};

/// Queued calls, in the order of their arrival. Plain and concurrent functions have a line each, as a worker may have
/// room for one kind only.
#[derive(Debug, Default)]
pub(super) struct Queue {
    plain: Line,
    concurrent: Line,
    arrivals: u64,
}

/// Calls of one kind. A cancelled call leaves its entry behind, so nothing has to be searched.
#[derive(Debug, Default)]
struct Line {
    entries: VecDeque<Entry>,
    /// Number of queued calls.
    waiting: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    arrival: u64,
    id: CallId,
}

/// The line may have this many more entries than twice the calls.
const SLACK: usize = 64;

impl Queue {
    pub(super) fn push(&mut self, id: CallId, concurrent: bool) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        let line = self.of_mut(concurrent);
        line.entries.push_back(Entry { arrival, id });
        line.waiting += 1;
    }

    /// Puts back a call that was dispatched and not begun. Such calls arrived before all others; the newest of them is
    /// put back first.
    pub(super) fn push_front(&mut self, id: CallId, concurrent: bool) {
        let line = self.of_mut(concurrent);
        line.entries.push_front(Entry { arrival: 0, id });
        line.waiting += 1;
    }

    /// Takes the first call of a kind that has room.
    pub(super) fn pop(
        &mut self,
        plain_has_room: bool,
        concurrent_has_room: bool,
        calls: &CallTable,
    ) -> Option<CallId> {
        let plain = self.plain.first(calls).filter(|_| plain_has_room);
        let concurrent = self.concurrent.first(calls);
        let concurrent = concurrent.filter(|_| concurrent_has_room);
        let concurrent_first = match (plain, concurrent) {
            (Some(plain), Some(concurrent)) => concurrent < plain,
            (plain, concurrent) => {
                plain.or(concurrent)?;
                plain.is_none()
            }
        };
        let line = self.of_mut(concurrent_first);
        line.waiting -= 1;
        line.entries.pop_front().map(|entry| entry.id)
    }

    /// A queued call has left the call table.
    pub(super) fn on_left(&mut self, concurrent: bool, calls: &CallTable) {
        let line = self.of_mut(concurrent);
        line.waiting -= 1;
        if line.entries.len() > 2 * line.waiting + SLACK {
            line.entries.retain(|entry| entry.waits(calls));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.plain.waiting + self.concurrent.waiting
    }

    pub(super) fn is_empty(&self, concurrent: bool) -> bool {
        match concurrent {
            true => self.concurrent.waiting == 0,
            false => self.plain.waiting == 0,
        }
    }

    fn of_mut(&mut self, concurrent: bool) -> &mut Line {
        match concurrent {
            true => &mut self.concurrent,
            false => &mut self.plain,
        }
    }
}

impl Line {
    /// The arrival number of the first queued call. Its entry is then the first one.
    fn first(&mut self, calls: &CallTable) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        while let Some(first) = self.entries.front() {
            if first.waits(calls) {
                return Some(first.arrival);
            }
            self.entries.pop_front();
        }
        None
    }
}

impl Entry {
    fn waits(self, calls: &CallTable) -> bool {
        #[cfg(test)]
        tests::count();
        let state = calls.get(self.id).map(|call| &call.state);
        matches!(state, Some(CallState::Queued(..)))
    }
}

#[cfg(test)]
mod tests;
