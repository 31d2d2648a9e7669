//! Payloads that belong to callers are not dropped by the scheduler, but by who has unlocked it.

use std::sync::Weak;

use bytes::Bytes;
use pyproc_protocol::Codec;

use super::{calls::Submitted, *};
use crate::outgoing::{Outgoing, Payload};

const LIMITS: Limits = Limits {
    max_in_flight: 2,
    max_queue: 2,
    max_frame_size: 1 << 20,
};

struct Owner(#[expect(dead_code, reason = "tells that it is there")] Arc<()>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &[7; 100_000]
    }
}

/// A request with a large payload, which is there as long as this says.
fn owned() -> (Outgoing, Weak<()>) {
    let alive = Arc::new(());
    let is_alive = Arc::downgrade(&alive);
    let payload = Payload::Shared(Bytes::from_owner(Owner(alive)));
    let request = Outgoing {
        payload,
        ..request(Codec::Raw)
    };
    (request, is_alive)
}

fn submit(scheduler: &mut Scheduler, request: &mut Option<Outgoing>) -> Result<Submitted, Error> {
    let now = Instant::now();
    scheduler.submit(("m", None), request, Admission::Queue, waker(), now)
}

fn on_ready(scheduler: &mut Scheduler, version: u32) {
    scheduler.on_ready(0, &peer(version), CONFIG, Instant::now());
}

fn close(scheduler: &mut Scheduler) {
    scheduler.close(current(scheduler, 0));
}

/// What the driver does after the release of its lock.
fn carry_out(scheduler: &mut Scheduler) {
    drop(scheduler.actions().take().discard);
}

/// Ends a call that waits in the scheduler or is not written yet.
type End = fn(&mut Scheduler);

#[track_caller]
fn assert_outlives(scheduler: &mut Scheduler, end: End) {
    let (request, is_alive) = owned();
    let submitted = submit(scheduler, &mut Some(request)).unwrap();
    leave(scheduler, submitted.flush);
    assert!(scheduler.actions().discard.is_empty());
    end(scheduler);
    assert!(is_alive.strong_count() > 0, "dropped with the lock");
    carry_out(scheduler);
    assert_eq!(is_alive.strong_count(), 0, "kept");
}

#[test]
fn what_waits_outlives_the_lock_however_it_ends() {
    let ends: [End; 3] = [
        |it| on_ready(it, 1), // which takes no bytes
        |it| it.stop_slot(0, StopReason::ShutDown),
        Scheduler::cut_off,
    ];
    for end in ends {
        assert_outlives(&mut Scheduler::new(1, LIMITS), end);
    }
}

#[test]
fn what_is_unwritten_outlives_the_lock_however_its_worker_ends() {
    let ends: [End; 4] = [
        close,
        |it| it.stop_slot(0, StopReason::ShutDown),
        Scheduler::cut_off,
        |it| on_ready(it, 2),
    ];
    for end in ends {
        let mut scheduler = Scheduler::new(1, LIMITS);
        on_ready(&mut scheduler, 2);
        assert_outlives(&mut scheduler, end);
    }
}

#[test]
fn what_a_caller_has_not_written_outlives_the_lock_whenever_the_worker_goes() {
    for goes_before in [true, false] {
        let mut scheduler = Scheduler::new(1, LIMITS);
        on_ready(&mut scheduler, 2);
        let (request, is_alive) = owned();
        let submitted = submit(&mut scheduler, &mut Some(request)).unwrap();
        let Flush::Write(batch) = submitted.flush else {
            panic!("{:?}", submitted.flush);
        };
        if goes_before {
            close(&mut scheduler);
            assert!(scheduler.on_written(batch).is_none());
        } else {
            scheduler.on_written(batch);
            assert!(scheduler.actions().discard.is_empty());
            close(&mut scheduler);
        }
        assert!(is_alive.strong_count() > 0, "dropped with the lock");
        carry_out(&mut scheduler);
        assert_eq!(is_alive.strong_count(), 0, "kept");
    }
}

#[test]
fn what_waits_outlives_the_lock_when_its_caller_gives_it_up() {
    let mut scheduler = Scheduler::new(1, LIMITS);
    let (request, is_alive) = owned();
    let id = submit(&mut scheduler, &mut Some(request)).unwrap().id;
    scheduler.cancel(id, "");
    assert!(is_alive.strong_count() > 0, "dropped with the lock");
    carry_out(&mut scheduler);
    assert_eq!(is_alive.strong_count(), 0, "kept");
}

#[test]
fn what_is_refused_at_once_is_left_to_its_caller() {
    let mut scheduler = Scheduler::new(1, LIMITS);
    on_ready(&mut scheduler, 1);
    let (request, is_alive) = owned();
    let mut request = Some(request);
    assert!(submit(&mut scheduler, &mut request).is_err());
    assert!(is_alive.strong_count() > 0, "dropped with the lock");
    drop(request);
    assert_eq!(is_alive.strong_count(), 0, "kept");
}
