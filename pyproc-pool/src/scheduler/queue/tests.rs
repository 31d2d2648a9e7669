use std::{cell::Cell, time::Instant};

use pyproc_protocol::Codec;

use super::*;
use crate::scheduler::{call_table::Call, methods::Target, tests::request};

thread_local! {
    /// Looks at calls.
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn count() {
    STEPS.set(STEPS.get() + 1);
}

#[derive(Default)]
struct Waiting {
    calls: CallTable,
    queue: Queue,
}

impl Waiting {
    fn push(&mut self, concurrent: bool) -> CallId {
        let target = Target::Other("m".into());
        let call = Call {
            state: CallState::Queued(target, request(Codec::Json)),
            concurrent,
            waker: None,
            deadline: Some(Instant::now()),
        };
        let id = self.calls.insert(call).unwrap();
        self.queue.push(id, concurrent);
        id
    }

    fn leave(&mut self, id: CallId) {
        let call = self.calls.remove(id).unwrap();
        self.queue.on_left(call.concurrent, &self.calls);
    }

    fn pop(&mut self) -> Option<CallId> {
        let id = self.queue.pop(true, true, &self.calls)?;
        self.calls.remove(id).unwrap();
        Some(id)
    }
}

/// Steps for each of so many calls that leave, the last one first.
fn steps_to_leave(waiting: usize) -> u64 {
    let mut table = Waiting::default();
    let ids: Vec<_> = (0..waiting).map(|_| table.push(false)).collect();
    STEPS.set(0);
    ids.into_iter().rev().for_each(|id| table.leave(id));
    assert_eq!(table.queue.len(), 0);
    STEPS.get() / waiting as u64
}

#[test]
fn a_call_that_leaves_costs_no_more_where_a_hundred_thousand_wait() {
    assert!(steps_to_leave(100_000) <= steps_to_leave(100).max(3));
}

#[test]
fn calls_that_have_left_are_passed_over_and_the_others_keep_their_order() {
    let mut table = Waiting::default();
    let ids: Vec<_> = (0..10).map(|number| table.push(number % 3 == 0)).collect();
    for gone in [0, 1, 4, 9] {
        table.leave(ids[gone]);
    }
    assert_eq!(table.queue.len(), 6);
    let left: Vec<_> = std::iter::from_fn(|| table.pop()).collect();
    assert_eq!(left, [2, 3, 5, 6, 7, 8].map(|number| ids[number]));
    assert!(table.queue.is_empty(true) && table.queue.is_empty(false));
}

#[test]
fn entries_of_calls_that_have_left_are_bounded() {
    let mut table = Waiting::default();
    table.push(false);
    for _ in 0..10_000 {
        let id = table.push(false);
        table.leave(id);
        assert!(table.queue.plain.entries.len() <= SLACK + 3);
    }
}
