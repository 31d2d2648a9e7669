//! Workers without a hello that break the protocol, and answer in order or out of it.

use std::iter;

use pyproc_protocol::{Peer, SessionError, v1::Message};

use super::*;
use crate::scheduler::actions::Attribution;

const LIMITS: Limits = Limits {
    max_in_flight: 27,
    max_queue: 100,
    max_frame_size: 1000,
};

/// A worker from before the hello that answers so fast that it is sent all that it may have.
fn fast(now: Instant) -> Scheduler {
    fast_with(CONFIG, now)
}

fn fast_with(config: ConnectionConfig, now: Instant) -> Scheduler {
    let mut scheduler = Scheduler::new(1, LIMITS);
    scheduler.on_ready(0, &Peer::Legacy, config, now);
    for _ in 0..2 {
        let id = submit(&mut scheduler, now);
        answer(&mut scheduler, id, now);
        let outcome = scheduler.poll_outcome(id, &mut std::task::Context::from_waker(&waker()));
        assert!(matches!(outcome, Poll::Ready(Some(Ok(_)))));
    }
    written(&mut scheduler);
    scheduler
}

fn submit(scheduler: &mut Scheduler, now: Instant) -> CallId {
    let request = &mut Some(request(Codec::Json));
    let submitted = scheduler.submit(("m", None), request, Admission::Queue, waker(), now);
    let submitted = submitted.unwrap();
    leave(scheduler, submitted.flush);
    submitted.id
}

fn answer(scheduler: &mut Scheduler, id: CallId, now: Instant) {
    let answers = iter::once(Response::failure(id.to_wire(), Failure::default()));
    let connection = current(scheduler, 0);
    scheduler.on_answers(connection, answers, now).unwrap();
}

fn refused(scheduler: &mut Scheduler, now: Instant) -> Verdict {
    let message = "no JSON".into();
    let violation = SessionError::Refused { message }.into();
    let connection = current(scheduler, 0);
    scheduler.on_violation(connection, violation, now)
}

/// The ids of the requests that are to be written.
fn written(scheduler: &mut Scheduler) -> Vec<u64> {
    let connection = current(scheduler, 0);
    let bytes = frames(scheduler, connection);
    let (mut rest, mut ids) = (&bytes[..], Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (frame, next) = behind.split_at(u32::from_be_bytes(*length) as usize);
        match Message::decode(&frame.to_vec().into()).unwrap() {
            Message::Request(request) => ids.push(request.id),
            other => panic!("{other:?}"),
        }
        rest = next;
    }
    ids
}

#[test]
fn twenty_six_neighbours_are_sent_again_in_their_order_before_what_came_later() {
    let now = Instant::now();
    let mut scheduler = fast(now);
    let calls: Vec<CallId> = (0..30).map(|_| submit(&mut scheduler, now)).collect();
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (27, 3));
    let ids: Vec<u64> = calls.iter().map(|id| id.to_wire()).collect();
    assert_eq!(written(&mut scheduler), ids[..27]);
    assert!(matches!(refused(&mut scheduler, now), Verdict::Reconnect));
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (0, 29));
    assert!(scheduler.connections.ids().is_empty());

    scheduler.on_ready(0, &Peer::Legacy, CONFIG, now);
    let mut sent = written(&mut scheduler);
    for &id in &calls[1..] {
        answer(&mut scheduler, id, now);
        sent.extend(written(&mut scheduler));
    }
    assert_eq!(sent, ids[1..]);
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (0, 0));
}

/// What happened to the calls that output is attributed to.
fn attributed(scheduler: &mut Scheduler) -> Vec<String> {
    let attributions = scheduler.actions().take().attribute;
    let said = attributions.into_iter().map(|(_, it)| match it {
        Attribution::Sent(call) => format!("sent {}", call.function),
        Attribution::Answered => "answered".into(),
        Attribution::Forgotten => "forgotten".into(),
    });
    said.collect()
}

#[test]
fn output_of_a_worker_that_answers_out_of_order_is_attributed_to_no_call() {
    let now = Instant::now();
    let config = ConnectionConfig {
        attributes: true,
        ..CONFIG
    };
    let mut scheduler = fast_with(config, now);
    attributed(&mut scheduler);
    let [first, second] = [0, 1].map(|_| submit(&mut scheduler, now));
    assert_eq!(attributed(&mut scheduler), ["sent m", "sent m"]);
    answer(&mut scheduler, second, now);
    // The first call would be taken for the second.
    assert_eq!(attributed(&mut scheduler), ["answered", "forgotten"]);
    answer(&mut scheduler, first, now);
    submit(&mut scheduler, now);
    assert!(attributed(&mut scheduler).is_empty());
}

#[test]
fn a_call_that_waited_is_attributed_too_and_none_when_the_connection_is_closed() {
    let now = Instant::now();
    let config = ConnectionConfig {
        attributes: true,
        ..CONFIG
    };
    let mut scheduler = Scheduler::new(1, LIMITS);
    submit(&mut scheduler, now);
    let id = scheduler.on_ready(0, &Peer::Legacy, config, now);
    assert_eq!(attributed(&mut scheduler), ["sent m"]);
    scheduler.close(id);
    assert_eq!(attributed(&mut scheduler), ["forgotten"]);
}

#[test]
fn what_a_replaced_worker_has_not_begun_fails_if_no_worker_will_come() {
    let now = Instant::now();
    let mut scheduler = fast(now);
    let replaced = current(&scheduler, 0);
    let [_, second] = [0, 1].map(|_| submit(&mut scheduler, now));
    scheduler.replace(0);
    scheduler.on_ready(0, &Peer::Legacy, CONFIG, now);
    scheduler.stop_slot(0, StopReason::ShutDown);
    let message = "no JSON".into();
    let violation = SessionError::Refused { message }.into();
    let verdict = scheduler.on_violation(replaced, violation, now);
    assert!(matches!(verdict, Verdict::Reconnect));
    let mut cx = std::task::Context::from_waker(Waker::noop());
    let outcome = scheduler.poll_outcome(second, &mut cx);
    assert!(matches!(outcome, Poll::Ready(Some(Err(Error::ShutDown)))));
    assert_eq!((scheduler.in_flight(), scheduler.queued()), (0, 0));
}

#[test]
fn memory_of_requests_is_used_again_once_they_are_answered() {
    let now = Instant::now();
    let mut scheduler = fast(now);
    assert_eq!(scheduler.spare.len(), 1);
    let id = submit(&mut scheduler, now);
    assert!(scheduler.spare.is_empty(), "the caller has it");
    answer(&mut scheduler, id, now);
    assert_eq!(scheduler.spare.len(), 1);
}
