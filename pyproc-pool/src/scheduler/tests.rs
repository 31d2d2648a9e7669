use pyproc_protocol::{Headers, RawJson};

use super::*;

const LIMITS: Limits = Limits {
    max_in_flight: 2,
    max_queue: 1,
    max_frame_size: 1000,
};

/// One worker that is ready.
fn ready() -> Scheduler {
    let mut scheduler = Scheduler::new(1, LIMITS);
    scheduler.lane_up(0, Features::ALL, Instant::now());
    scheduler
}

fn submit(scheduler: &mut Scheduler) -> Result<CallId, Error> {
    let request = PreparedRequest::new("m", &1, &Headers::new(), 1000, Vec::new()).unwrap();
    let submitted = scheduler.submit(request, Admission::Queue, Instant::now())?;
    Ok(submitted.id)
}

fn answer(scheduler: &mut Scheduler, id: u64) -> Result<(), ProtocolViolation> {
    let mut answers = vec![Response::success(id, RawJson::NULL)];
    scheduler.on_answers(0, &mut answers, Instant::now(), &mut Vec::new())
}

fn outcome(scheduler: &mut Scheduler, id: CallId) -> Poll<Outcome> {
    scheduler.poll_outcome(id, &mut Context::from_waker(Waker::noop()))
}

#[test]
fn an_answer_reaches_its_call_and_only_once() {
    let mut scheduler = ready();
    let (first, second) = (
        submit(&mut scheduler).unwrap(),
        submit(&mut scheduler).unwrap(),
    );
    answer(&mut scheduler, second.to_wire()).unwrap();
    assert!(outcome(&mut scheduler, first).is_pending());
    assert!(matches!(
        outcome(&mut scheduler, second),
        Poll::Ready(Ok(_))
    ));
    assert!(answer(&mut scheduler, second.to_wire()).is_err());
}

#[test]
fn an_answer_from_another_worker_than_the_one_asked_is_a_violation() {
    let mut scheduler = Scheduler::new(2, LIMITS);
    scheduler.lane_up(1, Features::NONE, Instant::now());
    let id = submit(&mut scheduler).unwrap();
    scheduler.lane_up(0, Features::NONE, Instant::now());
    assert!(answer(&mut scheduler, id.to_wire()).is_err());
}

#[test]
fn a_call_that_was_answered_at_its_deadline_keeps_its_answer() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    answer(&mut scheduler, id.to_wire()).unwrap();
    let given_up = scheduler.give_up(id, "timeout", &mut Vec::new());
    assert!(matches!(given_up, GivenUp::Answered(Ok(_))));
}

#[test]
fn capacity_of_a_call_given_up_comes_back_with_the_answer() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    let given_up = scheduler.give_up(id, "timeout", &mut Vec::new());
    assert!(matches!(given_up, GivenUp::OnWorker(0)));
    assert_eq!(scheduler.in_flight(), 1);
    answer(&mut scheduler, id.to_wire()).unwrap();
    assert_eq!(scheduler.in_flight(), 0);
}

#[test]
fn giving_up_wakes_both_the_writer_and_who_waits_for_the_last_answer() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    let mut outbox = Outbox::default();
    assert!(scheduler.take_outbox(0, &mut outbox, Waker::noop()));
    assert!(!scheduler.take_outbox(0, &mut Outbox::default(), Waker::noop()));
    let drained = scheduler.poll_drained(&mut Context::from_waker(Waker::noop()));
    assert!(drained.is_pending());
    let mut wakers = Vec::new();
    scheduler.give_up(id, "the caller is gone", &mut wakers);
    assert_eq!(wakers.len(), 2);
}

#[test]
fn calls_beyond_capacity_and_queue_are_refused_and_counted() {
    let mut scheduler = ready();
    for _ in 0..3 {
        submit(&mut scheduler).unwrap();
    }
    assert!(matches!(
        submit(&mut scheduler),
        Err(Error::Overloaded { queued: 1, .. })
    ));
    assert_eq!(scheduler.counters().rejected, 1);
}

#[test]
fn what_waits_fails_with_the_last_worker() {
    let mut scheduler = Scheduler::new(2, LIMITS);
    let id = submit(&mut scheduler).unwrap();
    scheduler.lane_gone(0, None);
    assert!(outcome(&mut scheduler, id).is_pending());
    scheduler.lane_gone(1, None);
    let outcome = outcome(&mut scheduler, id);
    assert!(matches!(outcome, Poll::Ready(Err(Error::ShutDown))));
    assert!(matches!(submit(&mut scheduler), Err(Error::ShutDown)));
}

#[test]
fn answers_after_the_cut_off_reach_nobody_and_are_no_violation() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    scheduler.cut_off();
    answer(&mut scheduler, id.to_wire()).unwrap();
    let outcome = outcome(&mut scheduler, id);
    assert!(matches!(outcome, Poll::Ready(Err(Error::ShutDown))));
}
