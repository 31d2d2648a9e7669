use std::collections::VecDeque;

use crate::call_table::CallId;

/// Calls that wait for a worker, first come, first served: those of plain functions, and those that
/// run beside others and so find room where the former do not.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    plain: VecDeque<CallId>,
    concurrent: VecDeque<CallId>,
}

impl Queue {
    pub(crate) fn push(&mut self, id: CallId, concurrent: bool) {
        self.of_mut(concurrent).push_back(id);
    }

    pub(crate) fn pop(&mut self, concurrent: bool) -> Option<CallId> {
        self.of_mut(concurrent).pop_front()
    }

    /// The next call, of whichever kind.
    pub(crate) fn pop_any(&mut self) -> Option<CallId> {
        self.plain
            .pop_front()
            .or_else(|| self.concurrent.pop_front())
    }

    /// Deadlines pass in about the order of arrival, so a call that gives up is near the front.
    pub(crate) fn remove(&mut self, id: CallId, concurrent: bool) {
        let queue = self.of_mut(concurrent);
        if let Some(place) = queue.iter().position(|queued| *queued == id) {
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

    fn of_mut(&mut self, concurrent: bool) -> &mut VecDeque<CallId> {
        match concurrent {
            true => &mut self.concurrent,
            false => &mut self.plain,
        }
    }
}
