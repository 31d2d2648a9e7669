use std::{cell::Cell, collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::scheduler::{ConnectionId, call_table::CallState};

thread_local! {
    /// Comparisons of deadlines, and looks at calls.
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn count() {
    STEPS.set(STEPS.get() + 1);
}

/// Calls with deadlines, in milliseconds.
#[derive(Default)]
struct Waiting {
    begin: Option<Instant>,
    calls: CallTable,
    timers: Timers,
}

impl Waiting {
    fn at(&mut self, ms: u64) -> Instant {
        *self.begin.get_or_insert_with(Instant::now) + Duration::from_millis(ms)
    }

    fn submit(&mut self, ms: u64) -> CallId {
        let deadline = self.at(ms);
        let call = Call {
            state: CallState::on_worker(ConnectionId::default(), deadline),
            concurrent: false,
            waker: None,
            deadline: Some(deadline),
        };
        let id = self.calls.insert(call).unwrap();
        self.timers.add(deadline, id, &self.calls);
        id
    }

    /// How many deadlines pass until then.
    fn pass(&mut self, ms: u64) -> usize {
        let (now, mut passed) = (self.at(ms), 0);
        while self.timers.next().is_some_and(|next| next <= now) {
            self.timers.pass(now, &mut self.calls, |call| {
                call.state = CallState::Done(Err(crate::Error::ShutDown));
                passed += 1;
            });
        }
        passed
    }
}

/// Numbers without order, the same each time.
fn scrambled(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

/// Steps for each call, of many that come and go while so many others wait for deadlines of their own.
fn steps_beside(waiting: u64) -> f64 {
    const CALLS: u64 = 20_000;
    let mut table = Waiting::default();
    for number in 0..waiting {
        table.submit(1 + scrambled(number));
    }
    STEPS.set(0);
    for number in 0..CALLS {
        let id = table.submit(1 + scrambled(waiting + number));
        table.calls.remove(id).unwrap();
    }
    STEPS.get() as f64 / CALLS as f64
}

#[test]
fn a_call_pays_no_more_where_a_hundred_thousand_wait_than_where_a_hundred_do() {
    let [few, many] = [100, 100_000].map(steps_beside);
    assert!(many <= few.max(6.0), "{many} steps, not {few}");
}

/// Steps for each of so many calls whose deadlines pass.
fn steps_to_pass(waiting: u64) -> f64 {
    let mut table = Waiting::default();
    for number in 0..waiting {
        table.submit(1 + scrambled(number));
    }
    STEPS.set(0);
    assert_eq!(table.pass(1 << 30), waiting as usize);
    STEPS.get() as f64 / waiting as f64
}

#[test]
fn a_deadline_that_passes_costs_the_depth_of_the_heap() {
    let [few, many] = [100, 100_000].map(steps_to_pass);
    // The logarithms of both are as 1 to 2.5.
    assert!(many < 3.5 * few && many < 50.0, "{many} steps, and {few}");
}

#[test]
fn deadlines_of_calls_that_have_ended_are_fewer_than_twice_the_calls_and_some() {
    let mut table = Waiting::default();
    let waiting: Vec<_> = (0..100).map(|ms| table.submit(1_000_000 + ms)).collect();
    for ms in 0..10_000 {
        let id = table.submit(ms);
        table.calls.remove(id).unwrap();
        assert!(table.timers.heap.len() <= 2 * (waiting.len() + 1) + SLACK + 1);
    }
    assert_eq!(table.pass(2_000_000), waiting.len());
    assert_eq!(table.timers.next(), None);
}

#[test]
fn one_pass_takes_a_bounded_number_and_the_next_is_due_at_once() {
    let mut table = Waiting::default();
    let all = 2 * MAX_AT_ONCE + 1;
    for _ in 0..all {
        table.submit(5);
    }
    let (now, mut passed) = (table.at(5), Vec::new());
    while table.timers.next().is_some_and(|next| next <= now) {
        let mut at_once = 0;
        table.timers.pass(now, &mut table.calls, |call| {
            call.state = CallState::Done(Err(crate::Error::ShutDown));
            at_once += 1;
        });
        passed.push(at_once);
    }
    assert_eq!(passed, [MAX_AT_ONCE, MAX_AT_ONCE, 1]);
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Submit { after: u64 },
    End { call: usize },
    Time { later: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..50_u64).prop_map(|after| Event::Submit { after }),
        3 => any::<usize>().prop_map(|call| Event::End { call }),
        1 => (0..30_u64).prop_map(|later| Event::Time { later }),
    ]
}

proptest! {
    #[test]
    fn each_deadline_passes_in_time_unless_its_call_has_ended(events in vec(event(), 0..400)) {
        let (mut table, mut now) = (Waiting::default(), 0);
        let mut expected = BTreeMap::new();
        for event in events {
            match event {
                Event::Submit { after } => {
                    let id = table.submit(now + after);
                    expected.insert(id, now + after);
                }
                Event::End { call } => {
                    let ids: Vec<CallId> = expected.keys().copied().collect();
                    if let Some(id) = ids.get(call % ids.len().max(1)) {
                        table.calls.remove(*id);
                        expected.remove(id);
                    }
                }
                Event::Time { later } => {
                    now += later;
                    let before = expected.len();
                    expected.retain(|_, deadline| *deadline > now);
                    prop_assert_eq!(table.pass(now), before - expected.len());
                }
            }
            let first = expected.values().min().map(|ms| table.at(*ms));
            let next = table.timers.next();
            prop_assert!(first.is_none_or(|first| next.is_some_and(|next| next <= first)));
        }
    }
}
