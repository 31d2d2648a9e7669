use std::collections::VecDeque;

use crate::scheduler::call_table::CallId;

/// Calls that wait for a worker: those of plain functions, and those that run beside others and so may find
/// room where the former do not. Whoever finds room, who came first goes first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    plain: VecDeque<Entry>,
    concurrent: VecDeque<Entry>,
    arrivals: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    arrival: u64,
    id: CallId,
}

impl Queue {
    pub(crate) fn push(&mut self, id: CallId, concurrent: bool) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.of_mut(concurrent).push_back(Entry { arrival, id });
    }

    /// Of calls that were taken out of the queue and come back, the last one first: they arrived before all others.
    pub(crate) fn push_front(&mut self, id: CallId, concurrent: bool) {
        let arrival = 0;
        self.of_mut(concurrent).push_front(Entry { arrival, id });
    }

    /// The next call of those kinds that have room.
    pub(crate) fn pop(
        &mut self,
        plain_has_room: bool,
        concurrent_has_room: bool,
    ) -> Option<CallId> {
        let arrival = |queue: &VecDeque<Entry>| queue.front().map(|entry| entry.arrival);
        let plain = arrival(&self.plain).filter(|_| plain_has_room);
        let concurrent = arrival(&self.concurrent).filter(|_| concurrent_has_room);
        let concurrent_first = match (plain, concurrent) {
            (Some(plain), Some(concurrent)) => concurrent < plain,
            (plain, _) => plain.is_none(),
        };
        if concurrent.is_none() && plain.is_none() {
            return None;
        }
        self.of_mut(concurrent_first)
            .pop_front()
            .map(|entry| entry.id)
    }

    /// Deadlines pass in about the order of arrival, so a call that gives up is near the front.
    pub(crate) fn remove(&mut self, id: CallId, concurrent: bool) {
        let queue = self.of_mut(concurrent);
        if let Some(place) = queue.iter().position(|entry| entry.id == id) {
            queue.remove(place);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.concurrent.len()
    }

    pub(crate) fn is_empty(&self, concurrent: bool) -> bool {
        match concurrent {
            true => self.concurrent.is_empty(),
            false => self.plain.is_empty(),
        }
    }

    fn of_mut(&mut self, concurrent: bool) -> &mut VecDeque<Entry> {
        match concurrent {
            true => &mut self.concurrent,
            false => &mut self.plain,
        }
    }
}
