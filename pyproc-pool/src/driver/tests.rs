//! The driver over a pair of ends in memory: no process, no runtime.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Wake},
};

use bytes::BytesMut;
use pyproc_protocol::{Codec, Failure, v2::Response};

use super::*;
use crate::{
    outgoing::{Outgoing, Payload},
    scheduler::{
        Admission, CallId, Flush, NextWrite, Outbox,
        tests::{CONFIG, frames, leave, peer, request},
    },
    transport::{ReadHalf, Transport, pair},
};

const LIMITS: Limits = Limits {
    max_in_flight: 100,
    max_queue: 10,
    max_frame_size: 1 << 20,
};

/// A driver with one connection, and its other end.
struct Pair {
    driver: Arc<Driver>,
    id: ConnectionId,
    write: Arc<WriteHalf>,
    _read: ReadHalf,
    worker: (ReadHalf, WriteHalf),
}

/// With room for so many bytes in each direction.
fn connected(room: usize) -> Pair {
    let (ours, theirs) = pair(room);
    let (read, write) = Transport::Memory(ours).split();
    let write = Arc::new(write);
    let driver = Arc::new(Driver::new(1, LIMITS));
    let endpoint = Endpoint {
        write: Arc::downgrade(&write),
        attributor: None,
    };
    let id = driver
        .lock()
        .on_ready(0, &peer(2), CONFIG, endpoint, Instant::now());
    Pair {
        driver,
        id,
        write,
        _read: read,
        worker: Transport::Memory(theirs).split(),
    }
}

impl Pair {
    /// A call of a function that runs beside others.
    fn submit(&self, request: Outgoing, waker: Waker) -> (CallId, Flush, Option<Arc<WriteHalf>>) {
        let mut scheduler = self.driver.lock();
        let method = ("async", scheduler.methods().find("async"));
        let now = Instant::now();
        let submitted = scheduler.submit(method, &mut Some(request), Admission::Queue, waker, now);
        let submitted = submitted.unwrap();
        let transport = match &submitted.flush {
            Flush::Write(batch) => scheduler.transport_of(batch),
            _ => None,
        };
        (submitted.id, submitted.flush, transport)
    }

    /// Bytes that have arrived at the worker.
    fn arrived(&mut self) -> usize {
        let mut buffer = BytesMut::new();
        let mut cx = Context::from_waker(Waker::noop());
        match self.worker.0.poll_read(&mut cx, &mut buffer) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => 0,
        }
    }

    fn next_write(&self) -> (NextWrite, Outbox) {
        let mut outbox = Outbox::default();
        let mut scheduler = self.driver.lock();
        let next = scheduler.next_write(self.id, &mut outbox, Waker::noop());
        (next, outbox)
    }
}

fn with_payload(size: usize) -> Outgoing {
    Outgoing {
        payload: Payload::Buffer(vec![b'1'; size]),
        ..request(Codec::Json)
    }
}

fn write(driver: &Driver, next: Flush, transport: Option<Arc<WriteHalf>>) {
    match next {
        Flush::Write(batch) => driver.write(batch, transport),
        other => panic!("nothing to write: {other:?}"),
    }
}

#[test]
fn the_caller_of_an_idle_worker_writes_its_request_itself() {
    let mut pair = connected(1 << 16);
    let (_, next, transport) = pair.submit(with_payload(10), Waker::noop().clone());
    assert!(Arc::ptr_eq(transport.as_ref().unwrap(), &pair.write));
    write(&pair.driver, next, transport);
    assert!(pair.arrived() > 10);
    assert_eq!(pair.next_write().0, NextWrite::Nothing { in_flight: 1 });
}

#[test]
fn what_finds_no_room_is_left_to_the_connection() {
    let mut pair = connected(100);
    let (_, next, transport) = pair.submit(with_payload(1000), Waker::noop().clone());
    write(&pair.driver, next, transport);
    assert_eq!(pair.arrived(), 100);
    let (next, rest) = pair.next_write();
    assert_eq!(next, NextWrite::Frames);
    assert!(!rest.is_empty());
}

#[test]
fn a_caller_writes_once_although_there_is_room_for_more() {
    let mut pair = connected(1 << 20);
    let submit = || {
        let (id, next, _) = pair.submit(with_payload(1), Waker::noop().clone());
        leave(&mut pair.driver.lock(), next);
        id
    };
    let calls: Vec<_> = (0..20).map(|_| submit()).collect();
    frames(&mut pair.driver.lock(), pair.id);
    let answers = calls
        .iter()
        .map(|id| Response::failure(id.to_wire(), Failure::default()));
    let delivered = pair
        .driver
        .lock()
        .on_answers(pair.id, answers, Instant::now());
    delivered.unwrap();
    // The one that makes half of all calls writes for the others. Each has two pieces, of which one write takes 16.
    let mut written_by = 0;
    for _ in 0..20 {
        let (_, next, transport) = pair.submit(with_payload(16 * 1024), Waker::noop().clone());
        if let Flush::Write(batch) = next {
            pair.driver.write(batch, transport);
            written_by += 1;
        }
    }
    assert!(written_by > 0);
    let arrived = pair.arrived();
    assert!(arrived > 16 * 1024 && arrived < 10 * 16 * 1024);
    let rest = frames(&mut pair.driver.lock(), pair.id).len();
    assert!(arrived + rest > 20 * 16 * 1024);
}

#[test]
fn a_batch_for_a_connection_that_has_ended_is_kept_for_whoever_explains_its_end() {
    let pair = connected(1 << 16);
    let Pair {
        driver,
        write: transport,
        ..
    } = &pair;
    let mut scheduler = driver.lock();
    let method = ("async", scheduler.methods().find("async"));
    let (mut request, now) = (Some(with_payload(1)), Instant::now());
    let waker = Waker::noop().clone();
    let submitted = scheduler.submit(method, &mut request, Admission::Queue, waker, now);
    let Flush::Write(batch) = submitted.unwrap().flush else {
        panic!("the caller writes");
    };
    drop(scheduler);
    assert!(driver.lock().transport_of(&batch).is_some());
    assert_eq!(
        Arc::strong_count(transport),
        1,
        "the driver keeps no connection alive"
    );
    driver.write(batch, None);
    assert_eq!(pair.next_write().0, NextWrite::Frames);
}

/// Takes the driver's lock when it is woken, as a caller may.
struct Locks(Arc<Driver>, AtomicUsize);

impl Wake for Locks {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock());
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_is_woken_finds_the_scheduler_unlocked() {
    let pair = connected(1 << 16);
    let locks = Arc::new(Locks(Arc::clone(&pair.driver), AtomicUsize::new(0)));
    let woken = || locks.1.load(Ordering::Relaxed);
    let [answered, ..] =
        [(); 3].map(|()| pair.submit(with_payload(1), Arc::clone(&locks).into()).0);
    let answers = [Response::failure(answered.to_wire(), Failure::default())].into_iter();
    let delivered = pair
        .driver
        .lock()
        .on_answers(pair.id, answers, Instant::now());
    delivered.unwrap();
    assert_eq!(woken(), 1);
    let late = Instant::now() + Duration::from_secs(3600);
    pair.driver.lock().on_time(late);
    assert_eq!(woken(), 3);
}
