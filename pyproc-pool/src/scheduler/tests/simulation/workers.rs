//! The workers of the simulation, and the connections to them.

use pyproc_protocol::{Failure, Peer, v1::Message, v2::Response};

use super::*;
use crate::scheduler::tests::{CONFIG, peer};

/// What a worker understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No hello: version 1, and answers in the order of its requests.
    NoHello,
    V1,
    V2,
}

/// Who writes to a connection at present.
pub(super) enum Writer {
    Nobody,
    Caller(Batch),
    Connection(Outbox),
}

/// A worker and the connection to it.
pub(super) struct Worker {
    pub(super) id: ConnectionId,
    pub(super) slot: usize,
    pub(super) kind: Kind,
    writer: Writer,
    bytes: Vec<u8>,
    /// Requests that have been dispatched and not arrived, in their order; those of plain functions first.
    pub(super) sent: [VecDeque<u64>; 2],
    /// Requests that the worker has read.
    pub(super) has: VecDeque<u64>,
    /// Answers on their way.
    pub(super) answers: VecDeque<u64>,
    /// Answered before others that are older.
    pub(super) out_of_order: Option<u64>,
    /// The numbers of the calls that its output is attributed to, as long as it is.
    attributed: Option<VecDeque<u64>>,
    /// Calls that it had when it was to get no more.
    pub(super) drains: Option<usize>,
    pub(super) over: bool,
}

impl Worker {
    /// As the driver's: what a worker prints belongs to its oldest call.
    pub(super) fn attribute(&mut self, attribution: Attribution) {
        let attributed = self.attributed.as_mut().expect("it is not attributed");
        match attribution {
            Attribution::Sent(call) => {
                attributed.push_back(call.baggage.unwrap().parse().unwrap());
            }
            Attribution::Answered => assert!(attributed.pop_front().is_some()),
            Attribution::Forgotten => self.attributed = None,
        }
    }

    /// Whether nothing is on its way to it or from it.
    pub(super) fn is_settled(&self, hung: bool) -> bool {
        let is_written = matches!(self.writer, Writer::Nobody);
        let is_answered = hung || self.has.is_empty();
        self.over || is_written && is_answered && self.answers.is_empty()
    }

    pub(super) fn check(&self, scheduler: &Scheduler) {
        let connection = scheduler.connections.get(self.id);
        let in_flight = connection.map_or(0, |it| it.in_flight);
        assert!(
            self.drains.is_none_or(|most| in_flight <= most),
            "it drains"
        );
        if let Some(attributed) = &self.attributed {
            assert_eq!(attributed.len(), in_flight, "attributed calls");
        }
    }
}

impl Simulation {
    /// The connection's task asks for frames, unless it has some.
    pub(super) fn ask_for_frames(&mut self, at: usize) {
        let waker = self.waker(Who::Connection(self.workers[at].id));
        let worker = &mut self.workers[at];
        if worker.over || matches!(worker.writer, Writer::Connection(_)) {
            return;
        }
        let mut outbox = Outbox::default();
        match self.scheduler.next_write(worker.id, &mut outbox, &waker) {
            NextWrite::Frames => {
                assert!(matches!(worker.writer, Writer::Nobody), "two write");
                worker.writer = Writer::Connection(outbox);
            }
            NextWrite::Yield => self.wakes.push(waker),
            NextWrite::Nothing { .. } => {}
            NextWrite::Drained => self.close_connection(at),
        }
    }

    /// A caller writes what it was handed.
    pub(super) fn write_batch(&mut self, batch: Batch) {
        let mut workers = self.workers.iter_mut();
        let worker = workers.find(|it| it.id == batch.connection()).unwrap();
        assert!(matches!(worker.writer, Writer::Nobody), "two write");
        worker.writer = Writer::Caller(batch);
    }

    pub(super) fn some_worker(&mut self) -> Option<usize> {
        let open: Vec<_> = (0..self.workers.len())
            .filter(|at| !self.workers[*at].over)
            .collect();
        (!open.is_empty()).then(|| open[self.rng.usize(..open.len())])
    }

    /// Some bytes leave.
    pub(super) fn write(&mut self) {
        let Some(at) = self.some_worker() else { return };
        self.write_to(at, false);
    }

    pub(super) fn write_to(&mut self, at: usize, all: bool) {
        let most = match all {
            true => usize::MAX,
            false => self.rng.usize(1..200),
        };
        let leaves_rest = !all && self.rng.u8(..4) == 0;
        let worker = &mut self.workers[at];
        let is_done = match &mut worker.writer {
            Writer::Nobody => return,
            Writer::Caller(batch) => {
                write_some(batch.frames(), &mut worker.bytes, most) || leaves_rest
            }
            Writer::Connection(outbox) => write_some(outbox, &mut worker.bytes, most),
        };
        if is_done {
            match mem::replace(&mut worker.writer, Writer::Nobody) {
                Writer::Caller(batch) => self.wakes.extend(self.scheduler.on_written(batch)),
                _ => self.ask_for_frames(at),
            }
        }
        self.read(at);
    }

    /// The worker reads whole frames: requests in the order in which they were dispatched.
    fn read(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        while let Some((length, rest)) = worker.bytes.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if rest.len() < length {
                return;
            }
            let frame = rest[..length].to_vec();
            worker.bytes.drain(..4 + length);
            let Some(id) = request_id(worker.kind, frame) else {
                continue;
            };
            let call = self.calls.get(&id).expect("it was never submitted");
            let next = worker.sent[usize::from(call.concurrent)].pop_front();
            assert_eq!(next, Some(id), "the order of requests");
            worker.has.push_back(id);
        }
    }

    /// The worker answers one of its calls: mostly the oldest one, if it knows no hello.
    pub(super) fn work(&mut self) {
        let Some(at) = self.some_worker().filter(|_| !self.hung) else {
            return;
        };
        let in_order = self.workers[at].kind == Kind::NoHello && self.rng.u8(..20) > 0;
        let worker = &mut self.workers[at];
        if worker.has.is_empty() {
            return;
        }
        let which = match in_order {
            true => 0,
            false => self.rng.usize(..worker.has.len()),
        };
        let id = worker.has.remove(which);
        if which > 0 && worker.out_of_order.is_none() {
            worker.out_of_order = id;
        }
        worker.answers.extend(id);
    }

    /// Answers arrive.
    pub(super) fn deliver(&mut self) {
        let Some(at) = self.some_worker() else { return };
        let count = self.rng.usize(1..4);
        self.deliver_to(at, count);
    }

    pub(super) fn deliver_to(&mut self, at: usize, count: usize) {
        self.check_attributed(at);
        let worker = &mut self.workers[at];
        let count = count.min(worker.answers.len());
        if count == 0 || worker.over {
            return;
        }
        let ids: Vec<_> = worker.answers.drain(..count).collect();
        let answers = ids
            .iter()
            .map(|id| Response::failure(*id, Failure::default()));
        let delivered = self.scheduler.on_answers(worker.id, answers, self.now);
        assert!(delivered.is_ok(), "{delivered:?}");
        self.carry_out();
        let worker = &self.workers[at];
        let is_out_of_order = worker.out_of_order.is_some_and(|it| ids.contains(&it));
        assert!(
            !is_out_of_order || worker.attributed.is_none(),
            "to another"
        );
        self.ask_for_frames(at);
    }

    /// The oldest calls that output is attributed to are those that the worker has answered or read.
    fn check_attributed(&self, at: usize) {
        let worker = &self.workers[at];
        if let Some(attributed) = &worker.attributed
            && worker.out_of_order.is_none()
        {
            let read = worker.answers.iter().chain(&worker.has);
            let read = read.map(|id| self.calls[id].number);
            assert!(attributed.iter().copied().zip(read).all(|(a, b)| a == b));
        }
    }

    pub(super) fn start(&mut self) {
        let slot = self.rng.usize(..SLOTS);
        if matches!(self.scheduler.slots[slot], Slot::Empty) {
            self.on_ready(slot);
        }
    }

    pub(super) fn start_all(&mut self) {
        for slot in 0..SLOTS {
            if !matches!(self.scheduler.slots[slot], Slot::Taken(_)) {
                self.on_ready(slot);
            }
        }
    }

    pub(super) fn on_ready(&mut self, slot: usize) {
        let (kind, peer) = match self.rng.u8(..4) {
            0 => (Kind::NoHello, Peer::Legacy),
            1 => (Kind::V1, peer(1)),
            _ => (Kind::V2, peer(2)),
        };
        let config = ConnectionConfig {
            spins: self.rng.bool(),
            attributes: self.rng.bool(),
            ..CONFIG
        };
        let id = self.scheduler.on_ready(slot, &peer, config, self.now);
        let is_attributed = config.attributes && kind == Kind::NoHello;
        self.workers.push(Worker {
            id,
            slot,
            kind,
            writer: Writer::Nobody,
            bytes: Vec::new(),
            sent: Default::default(),
            has: VecDeque::new(),
            answers: VecDeque::new(),
            out_of_order: None,
            attributed: is_attributed.then(VecDeque::new),
            drains: None,
            over: false,
        });
        self.carry_out();
        self.note_dispatched();
        self.ask_for_frames(self.workers.len() - 1);
    }

    /// Nothing is sent to the worker or received from it after this.
    pub(super) fn end_worker(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        worker.over = true;
        assert_eq!(worker.attributed, None, "attributed to calls that are over");
        if let Writer::Caller(batch) = mem::replace(&mut worker.writer, Writer::Nobody) {
            assert!(self.scheduler.on_written(batch).is_none());
        }
    }
}

/// The id of a request in a frame that a worker of this kind understands; `None` for control messages.
fn request_id(kind: Kind, frame: Vec<u8>) -> Option<u64> {
    match frame[0] {
        0x01 if kind == Kind::V2 => Some(u64::from_be_bytes(frame[4..12].try_into().unwrap())),
        b'{' if kind != Kind::V2 => match Message::decode(&frame.into()) {
            Ok(Message::Request(request)) => Some(request.id),
            Ok(Message::Cancellation(_)) if kind == Kind::V1 => None,
            other => panic!("a worker of {kind:?} was sent {other:?}"),
        },
        _ if kind == Kind::V2 => None,
        first => panic!("a worker of {kind:?} was sent a frame of kind {first}"),
    }
}

/// Returns whether all has left.
fn write_some(outbox: &mut Outbox, bytes: &mut Vec<u8>, most: usize) -> bool {
    let mut left = most;
    while left > 0 && !outbox.is_empty() {
        let (slices, count) = outbox.slices();
        let before = bytes.len();
        for slice in &slices[..count] {
            let room = left - (bytes.len() - before);
            bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let written = bytes.len() - before;
        left -= written;
        outbox.advance(written);
    }
    outbox.is_empty()
}
