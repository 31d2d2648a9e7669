//! One event after another, each with what is to come of it.

use super::*;

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
    on_ready(&mut scheduler, 1, &Peer::Legacy);
    let id = submit(&mut scheduler).unwrap();
    on_ready(&mut scheduler, 0, &Peer::Legacy);
    assert!(answer(&mut scheduler, id.to_wire()).is_err());
}

#[test]
fn a_call_that_was_answered_at_its_deadline_keeps_its_answer() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    answer(&mut scheduler, id.to_wire()).unwrap();
    let cancelled = scheduler.cancel(id, "timeout");
    assert!(matches!(cancelled, Cancelled::Answered(Ok(_))));
}

#[test]
fn only_a_call_with_the_earliest_deadline_arms_the_timer() {
    let mut scheduler = ready();
    let mut arms = |seconds| {
        let mut request = Some(request(Codec::Json));
        let deadline = Instant::now() + Duration::from_secs(seconds);
        request.as_mut().unwrap().envelope.deadline = deadline;
        let submitted = scheduler.submit(
            ("m", None),
            &mut request,
            Admission::Queue,
            waker(),
            Instant::now(),
        );
        assert!(submitted.is_ok());
        let armed = scheduler.actions().take().arm;
        assert!(armed.is_none_or(|it| it == deadline));
        armed.is_some()
    };
    assert!(arms(60));
    assert!(!arms(70));
    assert!(arms(50), "one that waits in the queue, too");
}

#[test]
fn a_passed_deadline_wakes_its_caller_and_none_of_those_that_may_still_wait() {
    let mut scheduler = ready();
    let (first, answered, in_queue) = (
        submit(&mut scheduler).unwrap(),
        submit(&mut scheduler).unwrap(),
        submit(&mut scheduler).unwrap(),
    );
    for id in [first, answered, in_queue] {
        assert!(outcome(&mut scheduler, id).is_pending());
    }
    answer(&mut scheduler, answered.to_wire()).unwrap();
    assert_eq!(passed(&mut scheduler, Duration::ZERO), 0);
    assert!(scheduler.next_deadline().is_some());

    assert_eq!(passed(&mut scheduler, Duration::from_secs(3600)), 2);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        scheduler.poll_outcome(first, &mut cx),
        Poll::Ready(None)
    ));
    assert!(matches!(
        scheduler.poll_outcome(in_queue, &mut cx),
        Poll::Ready(None)
    ));
    assert!(matches!(
        outcome(&mut scheduler, answered),
        Poll::Ready(Ok(_))
    ));
    assert_eq!(scheduler.next_deadline(), None);
}

#[test]
fn capacity_of_a_call_given_up_comes_back_with_the_answer() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    let cancelled = scheduler.cancel(id, "timeout");
    assert!(matches!(cancelled, Cancelled::OnWorker(0)));
    assert_eq!(scheduler.in_flight(), 1);
    answer(&mut scheduler, id.to_wire()).unwrap();
    assert_eq!(scheduler.in_flight(), 0);
}

#[test]
fn giving_up_wakes_both_the_writer_and_who_waits_for_the_last_answer() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    assert!(!written(&mut scheduler).is_empty());
    let drained = scheduler.poll_drained(&mut Context::from_waker(Waker::noop()));
    assert!(drained.is_pending());
    scheduler.cancel(id, "the caller is gone");
    assert_eq!(scheduler.actions().take().wake.len(), 2);
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
    scheduler.stop_slot(0, StopReason::ShutDown);
    assert!(outcome(&mut scheduler, id).is_pending());
    scheduler.stop_slot(1, StopReason::ShutDown);
    let outcome = outcome(&mut scheduler, id);
    assert!(matches!(outcome, Poll::Ready(Err(Error::ShutDown))));
    assert!(matches!(submit(&mut scheduler), Err(Error::ShutDown)));
}

#[test]
fn answers_after_the_cut_off_reach_nobody_and_are_no_violation() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    let connection = current(&scheduler, 0);
    scheduler.cut_off();
    let answers = [Response::failure(id.to_wire(), Failure::default())].into_iter();
    let delivered = scheduler.on_answers(connection, answers, Instant::now());
    assert!(delivered.is_ok());
    let outcome = outcome(&mut scheduler, id);
    assert!(matches!(outcome, Poll::Ready(Err(Error::ShutDown))));
}

#[test]
fn a_worker_of_version_2_gets_the_number_of_a_function_that_it_listed() {
    let mut scheduler = ready();
    submit_to(&mut scheduler, "plain").unwrap();
    let frame = written(&mut scheduler);
    assert_eq!(
        frame[4..6],
        [0x01, 0x04],
        "a request with a deadline, without a name"
    );
    assert_eq!(frame[16..18], [0, 1]);
    submit_to(&mut scheduler, "other").unwrap();
    assert!(
        written(&mut scheduler)
            .windows(5)
            .any(|part| part == b"other")
    );
}

#[test]
fn a_worker_of_version_1_gets_names_in_json() {
    let mut scheduler = Scheduler::new(1, LIMITS);
    on_ready(&mut scheduler, 0, &peer(1));
    submit_to(&mut scheduler, "plain").unwrap();
    assert!(written(&mut scheduler)[4..].starts_with(b"{\"id\":"));
}

#[test]
fn a_call_that_waited_names_its_function_as_one_that_did_not() {
    for method in ["plain", "other"] {
        let mut scheduler = Scheduler::new(1, LIMITS);
        let early = submit_to(&mut scheduler, method).unwrap();
        on_ready(&mut scheduler, 0, &peer(2));
        let late_frame = written(&mut scheduler);
        answer(&mut scheduler, early.to_wire()).unwrap();
        assert!(outcome(&mut scheduler, early).is_ready());
        submit_to(&mut scheduler, method).unwrap();
        let frame = written(&mut scheduler);
        // What differs is the id, and the deadline.
        assert_eq!(frame.len(), late_frame.len(), "{method}");
        assert_eq!(frame[4..8], late_frame[4..8], "{method}");
    }
}

#[test]
fn bytes_cannot_be_sent_to_a_worker_of_version_1_and_its_capacity_stays_free() {
    let mut scheduler = Scheduler::new(1, LIMITS);
    let queued = submit_as(&mut scheduler, "m", Codec::Raw).unwrap();
    on_ready(&mut scheduler, 0, &peer(1));
    let outcome = outcome(&mut scheduler, queued);
    assert!(matches!(outcome, Poll::Ready(Err(Error::Encode { .. }))));

    let error = submit_as(&mut scheduler, "m", Codec::Raw).unwrap_err();
    assert!(matches!(error, Error::Encode { .. }), "{error}");
    assert_eq!((scheduler.in_flight(), scheduler.unanswered()), (0, 0));
}

#[test]
fn the_deadline_of_a_call_that_is_refused_hides_no_later_one() {
    let mut scheduler = Scheduler::new(1, LIMITS);
    on_ready(&mut scheduler, 0, &peer(1));
    submit_as(&mut scheduler, "m", Codec::Raw).unwrap_err();
    assert_eq!(scheduler.next_deadline(), None);
    let mut request = Some(request(Codec::Json));
    let now = Instant::now();
    let call = scheduler.submit(("m", None), &mut request, Admission::Queue, waker(), now);
    assert!(call.is_ok());
    assert!(scheduler.actions().take().arm.is_some());
}

#[test]
fn calls_that_run_beside_others_are_all_sent_and_plain_ones_a_few_ahead() {
    let limits = Limits {
        max_in_flight: 100,
        max_queue: 100,
        ..LIMITS
    };
    let mut scheduler = Scheduler::new(1, limits);
    on_ready(&mut scheduler, 0, &peer(2));
    for _ in 0..10 {
        submit_to(&mut scheduler, "plain").unwrap();
    }
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (2, 8));
    let ids: Vec<_> = (0..98)
        .map(|_| submit_to(&mut scheduler, "async").unwrap())
        .collect();
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (100, 8));
    submit_to(&mut scheduler, "async").unwrap();
    assert_eq!(scheduler.queued(), 9, "the limit holds for both");
    answer(&mut scheduler, ids[7].to_wire()).unwrap();
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (100, 8));
}

#[test]
fn a_worker_that_drains_gets_no_further_calls_and_answers_those_it_has() {
    let mut scheduler = ready();
    let id = submit(&mut scheduler).unwrap();
    let connection = current(&scheduler, 0);
    scheduler.on_drain(connection);
    submit(&mut scheduler).unwrap();
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (1, 1));
    answer(&mut scheduler, id.to_wire()).unwrap();
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (0, 1));
}

#[test]
fn calls_of_both_kinds_leave_the_queue_in_the_order_of_their_arrival() {
    let limits = Limits {
        max_in_flight: 1,
        max_queue: 100,
        ..LIMITS
    };
    let mut scheduler = Scheduler::new(1, limits);
    on_ready(&mut scheduler, 0, &peer(2));
    let kinds = ["plain", "async", "async", "plain", "async", "plain"];
    let ids = kinds.map(|method| submit_to(&mut scheduler, method).unwrap());
    for id in ids {
        assert!(
            scheduler
                .calls
                .get(id)
                .is_some_and(|call| matches!(call.state, CallState::OnWorker { .. }))
        );
        answer(&mut scheduler, id.to_wire()).unwrap();
    }
}

#[test]
fn a_plain_call_goes_where_no_other_plain_call_runs() {
    let limits = Limits {
        max_in_flight: 100,
        ..LIMITS
    };
    let mut scheduler = Scheduler::new(2, limits);
    on_ready(&mut scheduler, 0, &peer(2));
    submit_to(&mut scheduler, "plain").unwrap();
    on_ready(&mut scheduler, 1, &peer(2));
    for _ in 0..5 {
        submit_to(&mut scheduler, "async").unwrap();
    }
    let before = scheduler.in_flight_of(1);
    submit_to(&mut scheduler, "plain").unwrap();
    assert_eq!(scheduler.in_flight_of(1), before + 1);
}

#[test]
fn a_worker_that_drains_is_no_capacity_for_calls_that_must_not_wait() {
    let mut scheduler = ready();
    let connection = current(&scheduler, 0);
    scheduler.on_drain(connection);
    let mut request = Some(request(Codec::Json));
    let refused = scheduler.submit(
        ("m", None),
        &mut request,
        Admission::Now,
        waker(),
        Instant::now(),
    );
    assert!(matches!(refused, Err(Error::Overloaded { ready: 0, .. })));
    assert!(request.is_some(), "it is dropped without the lock");
}
