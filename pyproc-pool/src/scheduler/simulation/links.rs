//! The connections of the simulation, and the workers behind them.

use std::{collections::VecDeque, mem};

use pyproc_protocol::{Failure, Peer, SessionError, v1::Message, v2::Response};

use super::{SLOTS, Simulation, Who};
use crate::scheduler::{
    tests::{CONFIG, peer},
    *,
};

/// Who writes to a connection at present.
pub(super) enum Writer {
    Nobody,
    Caller(Batch),
    Task(Outbox),
}

/// A connection and the worker behind it.
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) slot: usize,
    pub(super) plain: bool,
    pub(super) writer: Writer,
    pub(super) bytes: Vec<u8>,
    /// Requests that the worker has read.
    pub(super) has: VecDeque<u64>,
    /// Answers on their way.
    pub(super) answers: VecDeque<u64>,
    pub(super) latest: [u64; 2],
    pub(super) closed: bool,
    /// Calls that it had when it was to get no more.
    pub(super) drains: Option<usize>,
    pub(super) over: bool,
}

impl Simulation {
    /// The connection's task asks for frames, unless it has some.
    pub(super) fn task(&mut self, at: usize) {
        let waker = self.waker(Who::Link(at));
        let link = &mut self.links[at];
        if link.closed || matches!(link.writer, Writer::Task(_)) {
            return;
        }
        let mut outbox = Outbox::default();
        match self.scheduler.next_write(link.id, &mut outbox, &waker) {
            NextWrite::Frames => {
                assert!(matches!(link.writer, Writer::Nobody), "two write");
                link.writer = Writer::Task(outbox);
            }
            NextWrite::Later => self.wakes.push(waker),
            NextWrite::Nothing { .. } => {}
            NextWrite::Drained => self.close(at),
        }
    }

    fn some_link(&mut self) -> Option<usize> {
        let open: Vec<_> = (0..self.links.len())
            .filter(|at| !self.links[*at].over)
            .collect();
        (!open.is_empty()).then(|| open[self.rng.usize(..open.len())])
    }

    /// Some bytes leave.
    pub(super) fn write(&mut self) {
        let Some(at) = self.some_link() else { return };
        self.write_to(at, false);
    }

    pub(super) fn write_to(&mut self, at: usize, all: bool) {
        let most = if all {
            usize::MAX
        } else {
            self.rng.usize(1..200)
        };
        let gives_up = !all && self.rng.u8(..4) == 0;
        let link = &mut self.links[at];
        let is_over = match &mut link.writer {
            Writer::Nobody => return,
            Writer::Caller(batch) => write_some(batch.frames(), &mut link.bytes, most) || gives_up,
            Writer::Task(outbox) => write_some(outbox, &mut link.bytes, most),
        };
        if is_over {
            match mem::replace(&mut link.writer, Writer::Nobody) {
                Writer::Caller(batch) => self.wakes.extend(self.scheduler.on_written(batch)),
                _ => self.task(at),
            }
        }
        self.read(at);
    }

    /// The worker reads whole frames.
    fn read(&mut self, at: usize) {
        let link = &mut self.links[at];
        while let Some((length, rest)) = link.bytes.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if rest.len() < length {
                return;
            }
            let frame = rest[..length].to_vec();
            link.bytes.drain(..4 + length);
            let id = match frame[0] {
                0x01 => u64::from_be_bytes(frame[4..12].try_into().unwrap()),
                b'{' => match Message::decode(&frame.into()) {
                    Ok(Message::Request(request)) => request.id,
                    other => panic!("no request: {other:?}"),
                },
                _ => continue,
            };
            let sent = self.sendable.remove(&id);
            let (number, kind, again) = sent.expect("it was sent twice, or never submitted");
            assert!(again || number >= link.latest[usize::from(kind)], "order");
            if !again {
                link.latest[usize::from(kind)] = number;
            }
            link.has.push_back(id);
        }
    }

    /// The worker answers one of its calls.
    pub(super) fn work(&mut self) {
        let Some(at) = self.some_link().filter(|_| !self.hung) else {
            return;
        };
        let link = &mut self.links[at];
        if link.has.is_empty() {
            return;
        }
        let which = match link.plain {
            true => 0,
            false => self.rng.usize(..link.has.len()),
        };
        link.answers.extend(link.has.remove(which));
    }

    /// Answers arrive.
    pub(super) fn deliver(&mut self) {
        let Some(at) = self.some_link() else { return };
        let count = self.rng.usize(1..4);
        self.deliver_to(at, count);
    }

    pub(super) fn deliver_to(&mut self, at: usize, count: usize) {
        let link = &mut self.links[at];
        let count = count.min(link.answers.len());
        if count == 0 || link.closed {
            return;
        }
        let answers = link.answers.drain(..count);
        let answers: Vec<_> = answers
            .map(|id| Response::failure(id, Failure::default()))
            .collect();
        let delivered = self
            .scheduler
            .on_answers(link.id, answers.into_iter(), self.now);
        assert!(delivered.is_ok(), "{delivered:?}");
        self.carry_out();
        self.task(at);
    }

    pub(super) fn start(&mut self) {
        let slot = self.rng.usize(..SLOTS);
        if matches!(self.scheduler.slots[slot], Slot::Empty) {
            self.up(slot);
        }
    }

    pub(super) fn up(&mut self, slot: usize) {
        let plain = self.rng.u8(..4) == 0;
        let peer = if plain { Peer::Legacy } else { peer(2) };
        let id = self.scheduler.up(slot, &peer, CONFIG, self.now);
        self.links.push(Link {
            id,
            slot,
            plain,
            writer: Writer::Nobody,
            bytes: Vec::new(),
            has: VecDeque::new(),
            answers: VecDeque::new(),
            latest: [0; 2],
            closed: false,
            drains: None,
            over: false,
        });
        self.carry_out();
        self.task(self.links.len() - 1);
    }

    /// A worker drains, dies, is replaced, answers what it does not have, or after it was gone.
    pub(super) fn disturb(&mut self) {
        let Some(at) = self.some_link() else { return };
        match self.rng.u8(..5) {
            0 => self.drain(at),
            1 => self.close(at),
            2 => self.replace(at),
            3 => self.stray(at),
            _ => self.nameless(at),
        }
        self.stale();
        self.carry_out();
    }

    fn drain(&mut self, at: usize) {
        let id = self.links[at].id;
        self.scheduler.on_drain(id);
        let in_flight = self.scheduler.connections.get(id).map(|it| it.in_flight);
        self.links[at].drains = in_flight;
    }

    fn replace(&mut self, at: usize) {
        let slot = self.links[at].slot;
        if matches!(self.scheduler.slots[slot], Slot::Taken(id) if id == self.links[at].id) {
            self.scheduler.replace(slot);
            self.drain(at);
        }
    }

    fn stray(&mut self, at: usize) {
        let link = &self.links[at];
        let mut others = self.links.iter().filter(|it| !it.over && it.id != link.id);
        let of_other = others.find_map(|it| it.has.front().copied());
        let id = of_other.unwrap_or(u64::from(u32::MAX) << 20);
        let answer = Response::failure(id, Failure::default());
        let delivered = self
            .scheduler
            .on_answers(link.id, [answer].into_iter(), self.now);
        assert_eq!(delivered.is_err(), !link.closed);
        self.close(at);
    }

    /// What comes late from a connection that is over changes nothing.
    fn stale(&mut self) {
        let over = self.links.iter().find(|it| it.over).map(|it| it.id);
        let known = self.callers.values().next().map(|it| it.id.to_wire());
        if let (Some(over), Some(known)) = (over, known) {
            let before = self.scheduler.in_flight();
            let answer = Response::failure(known, Failure::default());
            let answers = [answer].into_iter();
            let delivered = self.scheduler.on_answers(over, answers, self.now);
            assert!(delivered.is_ok(), "a stale connection: {delivered:?}");
            self.scheduler.on_drain(over);
            self.scheduler.close(over);
            assert_eq!(self.scheduler.in_flight(), before, "a stale connection");
        }
    }

    /// The worker from before the hello reports an error without an id: what it has not begun goes elsewhere.
    fn nameless(&mut self, at: usize) {
        let link = &self.links[at];
        let busy = link.has.front().is_some() && link.answers.is_empty();
        if !link.plain || link.closed || !busy {
            return;
        }
        let (id, lost): (_, Vec<u64>) = (link.id, link.has.iter().skip(1).copied().collect());
        let message = String::new();
        let violation = SessionError::Refused { message }.into();
        let verdict = self.scheduler.on_violation(id, violation, self.now);
        assert!(matches!(verdict, Verdict::Reconnect));
        for id in lost {
            self.sendable.insert(id, (0, false, true));
        }
        // Those that were not read may be sent again, too.
        self.sendable.values_mut().for_each(|it| it.2 = true);
        self.over(at);
        self.carry_out();
    }

    fn close(&mut self, at: usize) {
        let id = self.links[at].id;
        self.scheduler.close(id);
        self.scheduler.fail(id, || Error::ShutDown);
        self.over(at);
        self.carry_out();
    }

    fn over(&mut self, at: usize) {
        let link = &mut self.links[at];
        (link.closed, link.over) = (true, true);
        if let Writer::Caller(batch) = mem::replace(&mut link.writer, Writer::Nobody) {
            self.scheduler.on_written(batch);
        }
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
