//! What workers do wrong, and how they come to an end.

use pyproc_protocol::{Failure, FrameError, MessageError, SessionError, v2::Response};

use super::{workers::Kind, *};
use crate::ProtocolViolation;

impl Simulation {
    /// A worker drains, dies, is replaced, is gone for good, breaks the protocol, or answers what it does not have.
    pub(super) fn disturb(&mut self) {
        let Some(at) = self.some_worker() else { return };
        match self.rng.u8(..10) {
            0 => self.drain(at),
            1 | 2 => self.close_connection(at),
            3 => self.replace(at),
            4 => self.answer_of_another(at),
            5 => self.stop_slot(self.workers[at].slot),
            6 => self.unreadable(at),
            _ => self.error_without_id(at),
        }
        self.late();
        self.carry_out();
    }

    fn drain(&mut self, at: usize) {
        let id = self.workers[at].id;
        self.scheduler.on_drain(id);
        let in_flight = self.scheduler.connections.get(id).map(|it| it.in_flight);
        self.workers[at].drains = in_flight;
    }

    fn replace(&mut self, at: usize) {
        let slot = self.workers[at].slot;
        if matches!(self.scheduler.slots[slot], Slot::Taken(id) if id == self.workers[at].id) {
            self.scheduler.replace(slot);
            self.drain(at);
        }
    }

    fn answer_of_another(&mut self, at: usize) {
        let worker = &self.workers[at];
        let mut others = self
            .workers
            .iter()
            .filter(|it| !it.over && it.id != worker.id);
        let of_other = others.find_map(|it| it.has.front().copied());
        let id = of_other.unwrap_or(u64::from(u32::MAX) << 20);
        let answers = [Response::failure(id, Failure::default())].into_iter();
        let delivered = self.scheduler.on_answers(worker.id, answers, self.now);
        assert!(delivered.is_err());
        self.close_connection(at);
    }

    /// What comes late from a connection that is over changes nothing.
    fn late(&mut self) {
        let over = self.workers.iter().find(|it| it.over).map(|it| it.id);
        let known = self.callers.values().next().map(|it| it.id.to_wire());
        if let (Some(over), Some(known)) = (over, known) {
            let before = self.scheduler.in_flight();
            let answers = [Response::failure(known, Failure::default())].into_iter();
            let delivered = self.scheduler.on_answers(over, answers, self.now);
            assert!(delivered.is_ok(), "a connection that is over");
            self.scheduler.on_drain(over);
            self.scheduler.close(over);
            let after = self.scheduler.in_flight();
            assert_eq!(after, before, "a connection that is over");
        }
    }

    /// Whether the worker, as one from before the hello, runs its oldest call, and has answered in order so far.
    fn runs_in_order(&self, at: usize) -> bool {
        let worker = &self.workers[at];
        let is_in_order = worker.kind == Kind::NoHello && worker.out_of_order.is_none();
        is_in_order && worker.answers.is_empty() && !worker.has.is_empty()
    }

    /// The worker cannot write a result, and says so without an id: what it has not begun goes elsewhere.
    fn error_without_id(&mut self, at: usize) {
        if !self.runs_in_order(at) {
            return;
        }
        let worker = &self.workers[at];
        let not_begun = worker
            .has
            .iter()
            .skip(1)
            .chain(worker.sent.iter().flatten());
        let not_begun = not_begun.copied().collect();
        let message = String::new();
        let violation = SessionError::Refused { message }.into();
        let verdict = self.scheduler.on_violation(worker.id, violation, self.now);
        assert!(matches!(verdict, Verdict::Reconnect));
        self.place_first(not_begun);
        self.carry_out();
        self.end_worker(at);
    }

    /// A worker sends what is no message. One from before the hello goes on, and only its oldest call fails.
    fn unreadable(&mut self, at: usize) {
        let goes_on = self.runs_in_order(at);
        let worker = &mut self.workers[at];
        if goes_on {
            worker.has.pop_front();
        }
        let violation: ProtocolViolation = match goes_on || worker.kind != Kind::NoHello {
            true => {
                let source = serde_json::from_str::<u8>("NaN").unwrap_err();
                SessionError::Message(MessageError::Json { len: 3, source }).into()
            }
            false => SessionError::Frame(FrameError::Empty { offset: 0 }).into(),
        };
        let verdict = self.scheduler.on_violation(worker.id, violation, self.now);
        match goes_on {
            true => assert!(matches!(verdict, Verdict::Continue)),
            false => {
                assert!(matches!(verdict, Verdict::Broken(_)));
                self.close_connection(at);
            }
        }
        self.carry_out();
    }

    pub(super) fn close_connection(&mut self, at: usize) {
        let id = self.workers[at].id;
        self.scheduler.close(id);
        self.scheduler.fail(id, || Error::ShutDown);
        self.carry_out();
        self.end_worker(at);
    }

    /// No worker will take the slot again, unless a new round begins.
    pub(super) fn stop_slot(&mut self, slot: usize) {
        let before = match self.scheduler.slots[slot] {
            Slot::Taken(id) => self.workers.iter().position(|it| it.id == id),
            _ => None,
        };
        let gone = match self.rng.bool() {
            true => StopReason::ShutDown,
            false => StopReason::RuntimeEnded,
        };
        self.scheduler.stop_slot(slot, gone);
        self.carry_out();
        if let Some(at) = before {
            self.end_worker(at);
        }
    }

    /// Every call fails at once.
    pub(super) fn cut_off(&mut self) {
        self.scheduler.cut_off();
        self.carry_out();
        assert_eq!(self.scheduler.unanswered(), 0, "a call goes on");
        for at in 0..self.workers.len() {
            if !self.workers[at].over {
                self.end_worker(at);
            }
        }
        while !self.wakes.is_empty() {
            self.wake_one();
        }
        assert!(self.callers.is_empty(), "nobody woke a caller");
    }
}
