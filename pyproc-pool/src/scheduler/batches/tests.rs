use std::{
    io::Read,
    os::unix::net::UnixStream as Blocking,
    sync::atomic::{AtomicBool, Ordering},
    task::Wake,
};

use proptest::prelude::*;
use pyproc_protocol::{Headers, RequestHead, Version};
use tokio::{net::UnixStream, runtime::Runtime};

use super::*;
use crate::outgoing::Payload;

/// The way to a worker, its other end, and the runtime that both need.
struct Way {
    wire: Arc<OwnedWriteHalf>,
    worker: Blocking,
    _runtime: Runtime,
}

impl Way {
    fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().build().unwrap();
        let (ours, worker) = Blocking::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let wire = runtime.block_on(async {
            let (_, write) = UnixStream::from_std(ours).unwrap().into_split();
            // The runtime has seen that there is room, as after a handshake.
            write.writable().await.unwrap();
            Arc::new(write)
        });
        Self {
            wire,
            worker,
            _runtime: runtime,
        }
    }

    fn sending(&self) -> Sending {
        self.spinning(false)
    }

    fn spinning(&self, spins: bool) -> Sending {
        let half = Arc::downgrade(&self.wire);
        Sending::to(Wire {
            half,
            spins,
            ..Wire::default()
        })
    }
}

/// Whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn add(sending: &mut Sending, frame: &[u8], in_flight: usize) -> Next {
    sending.outbox().tail().extend_from_slice(frame);
    sending.on_request();
    sending.next(in_flight)
}

fn batch(next: Next) -> Batch {
    match next {
        Next::Write(batch) => batch,
        other => panic!("nothing to write: {other:?}"),
    }
}

#[test]
fn the_first_request_of_an_idle_worker_is_written_by_its_caller() {
    let mut way = Way::new();
    let mut sending = way.sending();
    let mut first = batch(add(&mut sending, b"first", 1));
    first.write();
    sending.take(&mut Outbox::default(), Waker::noop());
    assert!(sending.on_written(first).is_none(), "nothing is left");
    let mut arrived = [0; 5];
    way.worker.read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"first");
}

#[test]
fn callers_that_were_woken_together_write_once_for_each_half_of_all_calls() {
    let way = Way::new();
    let mut sending = way.sending();
    sending.take(&mut Outbox::default(), Waker::noop());
    // Six calls, of which two are still with the worker.
    sending.on_woken(4, 2);
    assert!(sending.may_wait(2), "the callers run first");
    assert!(matches!(add(&mut sending, b"1", 3), Next::Settled));
    assert!(matches!(add(&mut sending, b"2", 4), Next::Settled));
    let half = batch(add(&mut sending, b"3", 5));
    assert!(
        matches!(add(&mut sending, b"4", 6), Next::Settled),
        "one at a time"
    );
    sending.on_written(half);
}

#[test]
fn what_a_caller_leaves_goes_before_what_came_later() {
    let way = Way::new();
    let mut sending = way.sending();
    let connection = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&connection));
    assert!(!sending.take(&mut Outbox::default(), &waker));
    let first = batch(add(&mut sending, b"first", 1));
    assert!(matches!(add(&mut sending, b"second", 2), Next::Settled));
    assert!(
        !sending.take(&mut Outbox::default(), &waker),
        "one at a time"
    );
    sending.on_written(first).unwrap().wake();
    assert!(connection.0.load(Ordering::Relaxed));
    for expected in [&b"first"[..], b"second"] {
        let mut frames = Outbox::default();
        assert!(sending.take(&mut frames, &waker));
        assert_eq!(bytes(&frames), expected);
    }
}

#[test]
fn a_connection_that_spins_is_told_of_what_callers_write() {
    let way = Way::new();
    for spins in [true, false] {
        let mut sending = way.spinning(spins);
        sending.take(&mut Outbox::default(), Waker::noop());
        let mut first = batch(add(&mut sending, b"first", 1));
        first.write();
        assert_eq!(sending.on_written(first).is_some(), spins);
    }
}

#[test]
fn a_full_socket_leaves_the_rest_to_the_connection() {
    let way = Way::new();
    let mut sending = way.sending();
    sending.take(&mut Outbox::default(), Waker::noop());
    let mut large = batch(add(&mut sending, &vec![b'1'; 1 << 22], 1));
    large.write();
    assert!(!large.frames.is_empty());
    assert!(sending.on_written(large).is_some());
    let mut frames = Outbox::default();
    assert!(sending.take(&mut frames, Waker::noop()) && !frames.is_empty());
}

#[test]
fn the_last_of_the_callers_that_were_woken_writes_however_few_they_are() {
    let way = Way::new();
    let mut sending = way.sending();
    sending.on_woken(2, 10);
    assert!(matches!(add(&mut sending, b"1", 11), Next::Settled));
    assert!(matches!(add(&mut sending, b"2", 12), Next::Write(_)));
}

#[test]
fn callers_write_again_once_everything_is_written() {
    let way = Way::new();
    let mut sending = way.sending();
    let mut frames = Outbox::default();
    sending.take(&mut frames, Waker::noop());
    assert!(matches!(add(&mut sending, b"1", 2), Next::Wake(_)));
    assert!(sending.take(&mut frames, Waker::noop()));
    assert!(
        matches!(add(&mut sending, b"2", 1), Next::Settled),
        "the connection writes"
    );
    frames = Outbox::default();
    assert!(sending.take(&mut frames, Waker::noop()));
    assert!(!sending.take(&mut Outbox::default(), Waker::noop()));
    let mut by_caller = batch(add(&mut sending, b"3", 1));
    by_caller.write();
    sending.on_written(by_caller);
    assert!(matches!(add(&mut sending, b"4", 1), Next::Write(_)));
}

#[test]
fn a_request_waits_one_turn_for_others_while_the_worker_has_other_calls() {
    let way = Way::new();
    let mut sending = way.sending();
    sending.take(&mut Outbox::default(), Waker::noop());
    add(&mut sending, b"1", 5);
    assert!(!sending.may_wait(1), "the worker has nothing else");
    assert!(sending.may_wait(5));
    assert!(!sending.may_wait(5), "once");
}

#[test]
fn requests_that_come_after_what_a_caller_leaves_are_counted_still() {
    let way = Way::new();
    let mut sending = way.sending();
    let first = batch(add(&mut sending, b"first", 1));
    add(&mut sending, b"second", 2);
    sending.on_written(first);
    assert!(sending.take(&mut Outbox::default(), Waker::noop()));
    assert!(
        sending.may_wait(2),
        "there is a request, and the worker is busy"
    );
}

#[test]
fn a_caller_writes_once_although_there_is_room_for_more() {
    let way = Way::new();
    let mut sending = way.sending();
    for id in 0..9 {
        // Two pieces each, of which one write takes 16.
        let mut payload = Payload::Buffer(vec![b'1'; 16 * 1024]);
        let headers = Headers::new();
        let head = RequestHead::new(id, "m", &headers);
        let pushed = sending
            .outbox()
            .push(Version::V2, &head, &mut payload, false, 1 << 20);
        pushed.unwrap();
        sending.on_request();
    }
    let mut many = batch(sending.next(9));
    many.write();
    assert!(!many.frames.is_empty());
}

#[test]
fn a_connection_that_has_ended_gets_nothing_from_callers() {
    let way = Way::new();
    let mut sending = way.sending();
    let late = batch(add(&mut sending, b"late", 1));
    let next_worker = Way::new().sending();
    assert!(sending.has_lent(&late) && !next_worker.has_lent(&late));
    drop((late, way));
    let mut sending = Sending {
        wire: sending.wire,
        ..Sending::default()
    };
    assert!(matches!(add(&mut sending, b"none", 1), Next::Settled));
}

#[test]
fn what_is_unwritten_waits_for_two_turns_at_most_however_many_answers_come() {
    let way = Way::new();
    let mut sending = way.sending();
    sending.take(&mut Outbox::default(), Waker::noop());
    assert!(matches!(add(&mut sending, b"1", 101), Next::Wake(_)));
    let answers_first = || {
        sending.on_woken(2, 50);
        sending.may_wait(50)
    };
    let turns = std::iter::repeat_with(answers_first).take(10);
    assert!(turns.take_while(|&waits| waits).count() <= 2);
}

#[test]
fn callers_are_awaited_still_when_others_than_answers_arrive() {
    let way = Way::new();
    let mut sending = way.sending();
    sending.on_woken(4, 2);
    sending.on_woken(0, 2);
    add(&mut sending, b"1", 3);
    add(&mut sending, b"2", 4);
    assert!(matches!(add(&mut sending, b"3", 5), Next::Write(_)));
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A caller makes a call.
    Call,
    /// A call is cancelled.
    Cancel,
    /// So many answers come.
    Answers(usize),
    /// The caller that writes has written so much.
    Written(usize),
    /// The connection's task runs, if it was woken, while the socket has so much room.
    Turn(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => Just(Event::Call),
        1 => Just(Event::Cancel),
        2 => (1..8_usize).prop_map(Event::Answers),
        2 => (0..12_usize).prop_map(Event::Written),
        4 => prop_oneof![Just(usize::MAX), 0..12_usize].prop_map(Event::Turn),
    ];
    prop::collection::vec(event, 0..200)
}

/// Callers, a worker and a connection, as far as they send.
struct Model {
    sending: Sending,
    batch: Option<Batch>,
    connection: Arc<Woken>,
    output: Outbox,
    in_flight: usize,
    added: Vec<u8>,
    arrived: Vec<u8>,
}

impl Model {
    fn happens(&mut self, event: Event) {
        match event {
            Event::Call => {
                self.in_flight += 1;
                let frame = self.frame();
                match add(&mut self.sending, &[frame], self.in_flight) {
                    Next::Settled => {}
                    Next::Wake(connection) => connection.wake(),
                    Next::Write(batch) => {
                        assert!(self.batch.is_none() && self.output.is_empty());
                        self.batch = Some(batch);
                    }
                }
            }
            Event::Cancel => {
                let frame = self.frame();
                self.sending.outbox().tail().push(frame);
                let connection = self.sending.wake();
                connection.into_iter().for_each(Waker::wake);
            }
            Event::Answers(count) => {
                let count = count.min(self.in_flight - self.sending.unwritten);
                self.in_flight -= count;
                if count > 0 {
                    self.sending.on_woken(count, self.in_flight);
                    self.connection.0.store(true, Ordering::Relaxed);
                }
            }
            Event::Written(count) => self.written(count),
            Event::Turn(room) => self.turn(room),
        }
    }

    fn frame(&mut self) -> u8 {
        let frame = self.added.len() as u8;
        self.added.push(frame);
        frame
    }

    fn written(&mut self, count: usize) {
        if let Some(mut batch) = self.batch.take() {
            let all = bytes(&batch.frames);
            let count = count.min(all.len());
            self.arrived.extend_from_slice(&all[..count]);
            batch.frames.advance(count);
            let connection = self.sending.on_written(batch);
            connection.into_iter().for_each(Waker::wake);
        }
    }

    fn turn(&mut self, mut room: usize) {
        // Who waits for room is woken by the runtime.
        let is_woken = self.connection.0.swap(false, Ordering::Relaxed);
        if !is_woken && self.output.is_empty() {
            return;
        }
        if self.output.is_empty() && self.sending.may_wait(self.in_flight) {
            self.connection.0.store(true, Ordering::Relaxed);
            return;
        }
        let waker = Waker::from(Arc::clone(&self.connection));
        while !self.output.is_empty() || self.sending.take(&mut self.output, &waker) {
            assert!(self.batch.is_none());
            let all = bytes(&self.output);
            let count = room.min(all.len());
            self.arrived.extend_from_slice(&all[..count]);
            self.output.advance(count);
            room -= count;
            if count < all.len() {
                return;
            }
        }
    }
}

fn bytes(frames: &Outbox) -> Vec<u8> {
    let (slices, count) = frames.slices();
    slices[..count].iter().flat_map(|it| it.to_vec()).collect()
}

proptest! {
    #[test]
    fn all_that_is_added_leaves_in_order_whoever_writes(events in events()) {
        let way = Way::new();
        let mut model = Model {
            sending: way.sending(),
            batch: None,
            connection: Arc::new(Woken(AtomicBool::new(true))),
            output: Outbox::default(),
            in_flight: 0,
            added: Vec::new(),
            arrived: Vec::new(),
        };
        for event in events {
            model.happens(event);
        }
        // Nothing else happens: whoever is to write does.
        model.written(usize::MAX);
        while model.connection.0.load(Ordering::Relaxed) || !model.output.is_empty() {
            model.turn(usize::MAX);
        }
        prop_assert_eq!(model.arrived, model.added);
    }
}
