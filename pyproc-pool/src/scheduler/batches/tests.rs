use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

use proptest::prelude::*;

use super::*;

fn new() -> Batches {
    Batches::new(ConnectionId::default(), false)
}

/// Whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn add(batches: &mut Batches, frame: &[u8], in_flight: usize) -> Flush {
    batches.control().extend_from_slice(frame);
    batches.unwritten += 1;
    batches.flush(in_flight)
}

fn written(mut batch: Batch) -> Batch {
    let all = bytes(&batch.frames).len();
    batch.frames.advance(all);
    batch
}

fn batch(next: Flush) -> Batch {
    match next {
        Flush::Write(batch) => batch,
        other => panic!("nothing to write: {other:?}"),
    }
}

#[test]
fn the_first_request_of_an_idle_worker_is_written_by_its_caller() {
    let mut batches = new();
    let first = batch(add(&mut batches, b"first", 1));
    assert_eq!(bytes(&first.frames), b"first");
    batches.take(&mut Outbox::default(), Waker::noop());
    let nothing_left = batches.on_written(written(first)).is_none();
    assert!(nothing_left);
}

#[test]
fn callers_that_were_woken_together_write_once_for_each_half_of_all_calls() {
    let mut batches = new();
    batches.take(&mut Outbox::default(), Waker::noop());
    // Six calls, of which two are still with the worker.
    batches.on_woken(4, 2);
    assert!(batches.should_yield(2), "the callers run first");
    assert!(matches!(add(&mut batches, b"1", 3), Flush::Scheduled));
    assert!(matches!(add(&mut batches, b"2", 4), Flush::Scheduled));
    let half = batch(add(&mut batches, b"3", 5));
    assert!(
        matches!(add(&mut batches, b"4", 6), Flush::Scheduled),
        "one at a time"
    );
    batches.on_written(half);
}

#[test]
fn what_a_caller_leaves_goes_before_what_came_later() {
    let mut batches = new();
    let connection = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&connection));
    assert!(!batches.take(&mut Outbox::default(), &waker));
    let first = batch(add(&mut batches, b"first", 1));
    assert!(matches!(add(&mut batches, b"second", 2), Flush::Scheduled));
    assert!(
        !batches.take(&mut Outbox::default(), &waker),
        "one at a time"
    );
    batches.on_written(first).unwrap().wake();
    assert!(connection.0.load(Ordering::Relaxed));
    for expected in [&b"first"[..], b"second"] {
        let mut frames = Outbox::default();
        assert!(batches.take(&mut frames, &waker));
        assert_eq!(bytes(&frames), expected);
    }
}

#[test]
fn a_connection_that_spins_is_told_of_what_callers_write() {
    for spins in [true, false] {
        let mut batches = Batches::new(ConnectionId::default(), spins);
        batches.take(&mut Outbox::default(), Waker::noop());
        let first = written(batch(add(&mut batches, b"first", 1)));
        assert_eq!(batches.on_written(first).is_some(), spins);
    }
}

#[test]
fn what_finds_no_room_is_left_to_the_connection() {
    let mut batches = new();
    batches.take(&mut Outbox::default(), Waker::noop());
    let mut large = batch(add(&mut batches, b"large", 1));
    large.frames().advance(3);
    assert!(batches.on_written(large).is_some());
    let mut frames = Outbox::default();
    assert!(batches.take(&mut frames, Waker::noop()));
    assert_eq!(bytes(&frames), b"ge");
}

#[test]
fn the_last_of_the_callers_that_were_woken_writes_however_few_they_are() {
    let mut batches = new();
    batches.on_woken(2, 10);
    assert!(matches!(add(&mut batches, b"1", 11), Flush::Scheduled));
    assert!(matches!(add(&mut batches, b"2", 12), Flush::Write(_)));
}

#[test]
fn callers_write_again_once_everything_is_written() {
    let mut batches = new();
    let mut frames = Outbox::default();
    batches.take(&mut frames, Waker::noop());
    assert!(matches!(add(&mut batches, b"1", 2), Flush::Wake(_)));
    assert!(batches.take(&mut frames, Waker::noop()));
    assert!(
        matches!(add(&mut batches, b"2", 1), Flush::Scheduled),
        "the connection writes"
    );
    frames = Outbox::default();
    assert!(batches.take(&mut frames, Waker::noop()));
    assert!(!batches.take(&mut Outbox::default(), Waker::noop()));
    let by_caller = batch(add(&mut batches, b"3", 1));
    batches.on_written(written(by_caller));
    assert!(matches!(add(&mut batches, b"4", 1), Flush::Write(_)));
}

#[test]
fn a_request_waits_one_turn_for_others_while_the_worker_has_other_calls() {
    let mut batches = new();
    batches.take(&mut Outbox::default(), Waker::noop());
    add(&mut batches, b"1", 5);
    assert!(!batches.should_yield(1), "the worker has nothing else");
    assert!(batches.should_yield(5));
    assert!(!batches.should_yield(5), "once");
}

#[test]
fn requests_that_come_after_what_a_caller_leaves_are_counted_still() {
    let mut batches = new();
    let first = batch(add(&mut batches, b"first", 1));
    add(&mut batches, b"second", 2);
    batches.on_written(first);
    assert!(batches.take(&mut Outbox::default(), Waker::noop()));
    assert!(
        batches.should_yield(2),
        "there is a request, and the worker is busy"
    );
}

#[test]
fn what_is_unwritten_waits_for_two_turns_at_most_however_many_answers_come() {
    let mut batches = new();
    batches.take(&mut Outbox::default(), Waker::noop());
    assert!(matches!(add(&mut batches, b"1", 101), Flush::Wake(_)));
    let answers_first = || {
        batches.on_woken(2, 50);
        batches.should_yield(50)
    };
    let yields_left = std::iter::repeat_with(answers_first).take(10);
    assert!(yields_left.take_while(|&waits| waits).count() <= 2);
}

#[test]
fn callers_are_awaited_still_when_others_than_answers_arrive() {
    let mut batches = new();
    batches.on_woken(4, 2);
    batches.on_woken(0, 2);
    add(&mut batches, b"1", 3);
    add(&mut batches, b"2", 4);
    assert!(matches!(add(&mut batches, b"3", 5), Flush::Write(_)));
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
    batches: Batches,
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
                match add(&mut self.batches, &[frame], self.in_flight) {
                    Flush::Scheduled => {}
                    Flush::Wake(connection) => connection.wake(),
                    Flush::Write(batch) => {
                        assert!(self.batch.is_none() && self.output.is_empty());
                        self.batch = Some(batch);
                    }
                }
            }
            Event::Cancel => {
                let frame = self.frame();
                self.batches.control().push(frame);
                let connection = self.batches.wake();
                connection.into_iter().for_each(Waker::wake);
            }
            Event::Answers(count) => {
                let count = count.min(self.in_flight - self.batches.unwritten);
                self.in_flight -= count;
                if count > 0 {
                    self.batches.on_woken(count, self.in_flight);
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
            let connection = self.batches.on_written(batch);
            connection.into_iter().for_each(Waker::wake);
        }
    }

    fn turn(&mut self, mut room: usize) {
        // Who waits for room is woken by the runtime.
        let is_woken = self.connection.0.swap(false, Ordering::Relaxed);
        if !is_woken && self.output.is_empty() {
            return;
        }
        if self.output.is_empty() && self.batches.should_yield(self.in_flight) {
            self.connection.0.store(true, Ordering::Relaxed);
            return;
        }
        let waker = Waker::from(Arc::clone(&self.connection));
        while !self.output.is_empty() || self.batches.take(&mut self.output, &waker) {
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
            let mut model = Model {
            batches: new(),
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
