//! Whatever happens in whatever order: each call is sent to one worker at most, stays with it, and ends once.

use std::{
    collections::BTreeMap,
    task::{Context, Poll},
};

use proptest::{collection::vec, prelude::*};
use pyproc_protocol::{Codec, Failure, Peer, SessionError, v1::Message, v2::Response};

use super::*;

mod check;

const WORKERS: usize = 2;
/// The model's place for a worker that was replaced.
const LEAVING: usize = WORKERS;
const LIMITS: Limits = Limits {
    max_in_flight: 3,
    max_queue: 2,
    max_frame_size: 1000,
};

/// What may happen next; it does not where it cannot. Calls are numbered in the order of their arrival, as far as they matter.
#[derive(Debug, Clone, Copy)]
enum Event {
    Submit {
        concurrent: bool,
        may_wait: bool,
    },
    Cancel {
        call: usize,
    },
    Response {
        index: usize,
        call: usize,
    },
    /// A worker answers a call that another has.
    AnswerOfAnother {
        index: usize,
        call: usize,
    },
    /// A worker reports an error without an id, after which it reads no more.
    ErrorWithoutId {
        index: usize,
    },
    Drain {
        index: usize,
    },
    Down {
        index: usize,
    },
    /// What became of a worker that is down is known.
    Fail {
        index: usize,
    },
    /// Another worker is ready for the slot, be there one already or not.
    Ready {
        slot: usize,
        /// It knows no hello.
        plain: bool,
    },
    /// The slot of a worker that has failed stays empty.
    StopReason {
        slot: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let call = 0..8_usize;
    let with_worker = (0..=WORKERS, call.clone());
    prop_oneof![
        8 => any::<(bool, bool)>()
            .prop_map(|(concurrent, may_wait)| Event::Submit { concurrent, may_wait }),
        2 => call.prop_map(|call| Event::Cancel { call }),
        6 => with_worker.clone().prop_map(|(index, call)| Event::Response { index, call }),
        1 => with_worker.prop_map(|(index, call)| Event::AnswerOfAnother { index, call }),
        2 => (0..=WORKERS).prop_map(|index| Event::ErrorWithoutId { index }),
        1 => (0..=WORKERS).prop_map(|index| Event::Drain { index }),
        1 => (0..=WORKERS).prop_map(|index| Event::Down { index }),
        2 => (0..=WORKERS).prop_map(|index| Event::Fail { index }),
        3 => (0..WORKERS, any::<bool>()).prop_map(|(slot, plain)| Event::Ready { slot, plain }),
        1 => (0..WORKERS).prop_map(|slot| Event::StopReason { slot }),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Worker {
    number: usize,
    connection: ConnectionId,
    slot: usize,
    state: State,
    /// It knows no hello, and has answered in order so far.
    in_order: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Down,
}

/// A call that somebody still holds on to.
#[derive(Debug, Clone, Copy, Default)]
struct Expected {
    /// The number of the worker that was sent it.
    worker: Option<usize>,
    /// How many requests were sent before.
    sent: usize,
    cancelled: bool,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    AnsweredBy { slot: usize },
    Failed,
}

struct Model {
    scheduler: Scheduler,
    workers: [Option<Worker>; WORKERS + 1],
    gone: [bool; WORKERS],
    started: usize,
    sent: usize,
    calls: BTreeMap<u64, Expected>,
}

impl Model {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(WORKERS, LIMITS),
            workers: [None; WORKERS + 1],
            gone: [false; WORKERS],
            started: 0,
            sent: 0,
            calls: BTreeMap::new(),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Submit {
                concurrent,
                may_wait,
            } => self.submit(concurrent, may_wait),
            Event::Cancel { call } => self.cancel(call),
            Event::Response { index, call } => self.answer(index, call),
            Event::AnswerOfAnother { index, call } => self.answer_of_another(index, call),
            Event::ErrorWithoutId { index } => self.error_without_id(index),
            Event::Drain { index } => self.close(index),
            Event::Down { index } => {
                if let Some(worker) = &mut self.workers[index] {
                    worker.state = State::Down;
                    self.scheduler.close(worker.connection);
                }
            }
            Event::Fail { index } => self.fail(index),
            Event::Ready { slot, plain } => self.ready(slot, plain),
            Event::StopReason { slot } => self.leave(slot),
        }
    }

    fn submit(&mut self, concurrent: bool, may_wait: bool) {
        let method = if concurrent { "async" } else { "plain" };
        let admission = match may_wait {
            true => Admission::Queue,
            false => Admission::Now,
        };
        let mut request = Some(request(Codec::Json));
        let (number, now) = (self.scheduler.methods().find(method), Instant::now());
        match self
            .scheduler
            .submit((method, number), &mut request, admission, waker(), now)
        {
            Ok(submitted) => {
                let id = submitted.id.to_wire();
                assert!(self.calls.insert(id, Expected::default()).is_none());
                leave(&mut self.scheduler, submitted.flush);
                let current = self.scheduler.current().map(|(_, it)| it);
                let current: Vec<_> = current.filter(|it| may_wait || it.is_open()).collect();
                let in_flight: usize = current.iter().map(|it| it.in_flight).sum();
                let (slots, queue) = match may_wait {
                    true => (WORKERS, LIMITS.max_queue),
                    false => (current.len(), 0),
                };
                let most = slots * LIMITS.max_in_flight + queue;
                assert!(in_flight + self.scheduler.queued() <= most);
            }
            Err(Error::Overloaded { .. }) if may_wait => {
                assert!(self.scheduler.queued() >= LIMITS.max_queue);
            }
            Err(Error::Overloaded { .. }) => {
                let mut all = self.scheduler.connections.iter();
                let has_room =
                    |it: &Connection| it.is_open() && it.in_flight < LIMITS.max_in_flight;
                assert!(self.scheduler.queued() > 0 || !all.any(has_room));
            }
            Err(error) => assert!(self.gone.iter().all(|gone| *gone), "{error}"),
        }
    }

    fn cancel(&mut self, call: usize) {
        let awaited = |(id, it): (&u64, &Expected)| (!it.cancelled).then_some(*id);
        let Some(id) = self.calls.iter().filter_map(awaited).nth(call) else {
            return;
        };
        let call_id = CallId::from_wire(id);
        let cancelled = self.scheduler.cancel(call_id, "test");
        match self.calls[&id].worker {
            Some(number) => {
                self.expect(id).cancelled = true;
                let slot = self.worker(number).slot;
                assert!(matches!(cancelled, Cancelled::OnWorker(it) if it == slot));
            }
            None => {
                self.calls.remove(&id);
                assert!(matches!(cancelled, Cancelled::Queued));
            }
        }
    }

    fn answer(&mut self, index: usize, call: usize) {
        let Some(worker) = self.workers[index] else {
            return;
        };
        let Some(id) = self.calls_of(worker.number).nth(call) else {
            return;
        };
        let is_oldest = self.oldest_of(worker.number) == Some(id);
        self.receive(worker.connection, id).unwrap();
        if worker.state != State::Down {
            self.workers[index]
                .iter_mut()
                .for_each(|it| it.in_order &= is_oldest);
            let slot = worker.slot;
            self.expect(id).end = Some(End::AnsweredBy { slot });
        }
    }

    fn answer_of_another(&mut self, index: usize, call: usize) {
        let Some(worker) = self.workers[index].filter(|it| it.state != State::Down) else {
            return;
        };
        let others = self.calls.iter();
        let mut others = others.filter(|(_, it)| it.worker != Some(worker.number));
        if let Some((&id, _)) = others.nth(call) {
            self.receive(worker.connection, id).unwrap_err();
        }
    }

    /// The oldest call has its answer; the others wait again, and the worker is as good as new.
    fn error_without_id(&mut self, index: usize) {
        let Some(worker) = self.workers[index].filter(|it| it.state != State::Down) else {
            return;
        };
        let message = String::new();
        let violation = SessionError::Refused { message }.into();
        let oldest = self.oldest_of(worker.number).filter(|_| worker.in_order);
        let now = Instant::now();
        let verdict = self
            .scheduler
            .on_violation(worker.connection, violation, now);
        let Some(oldest) = oldest else {
            assert!(matches!(verdict, Verdict::Broken(_)));
            return;
        };
        assert!(matches!(verdict, Verdict::Reconnect));
        let slot = worker.slot;
        self.expect(oldest).end = Some(End::AnsweredBy { slot });
        for id in self.calls_of(worker.number).collect::<Vec<_>>() {
            match self.expect(id) {
                expected if expected.end.is_some() => {}
                expected if expected.cancelled => drop(self.calls.remove(&id)),
                expected => expected.worker = None,
            }
        }
        self.workers[index] = None;
        if self.gone.iter().all(|gone| *gone) {
            self.fail_what_waits();
        }
    }

    fn receive(&mut self, connection: ConnectionId, id: u64) -> Result<(), ProtocolViolation> {
        let answers = [Response::failure(id, Failure::default())].into_iter();
        let may_wait = self
            .scheduler
            .on_answers(connection, answers, Instant::now());
        may_wait.map(drop)
    }

    fn close(&mut self, index: usize) {
        if let Some(worker) = &mut self.workers[index]
            && worker.state == State::Open
        {
            worker.state = State::Closed;
            self.scheduler.on_drain(worker.connection);
        }
    }

    fn fail(&mut self, index: usize) {
        let Some(worker) = self.workers[index].filter(|it| it.state == State::Down) else {
            return;
        };
        self.scheduler.fail(worker.connection, || Error::ShutDown);
        for id in self.calls_of(worker.number).collect::<Vec<_>>() {
            self.expect(id).end = Some(End::Failed);
        }
        self.workers[index] = None;
    }

    fn ready(&mut self, slot: usize, plain: bool) {
        if let Some(mut before) = self.workers[slot] {
            if self.workers[LEAVING].is_some() || before.state == State::Down {
                return;
            }
            self.scheduler.replace(slot);
            before.state = State::Closed;
            self.workers[LEAVING] = Some(before);
        }
        let peer = if plain { Peer::Legacy } else { peer(2) };
        let connection = self.scheduler.on_ready(slot, &peer, CONFIG, Instant::now());
        self.started += 1;
        self.gone[slot] = false;
        self.workers[slot] = Some(Worker {
            number: self.started,
            connection,
            slot,
            state: State::Open,
            in_order: plain,
        });
    }

    fn leave(&mut self, slot: usize) {
        if self.workers[slot].is_some() {
            return;
        }
        self.scheduler.stop_slot(slot, StopReason::ShutDown);
        self.gone[slot] = true;
        if self.gone.iter().all(|gone| *gone) {
            self.fail_what_waits();
        }
    }

    fn fail_what_waits(&mut self) {
        let waiting = self.calls.values_mut().filter(|it| it.worker.is_none());
        waiting.for_each(|it| it.end = Some(End::Failed));
    }

    fn expect(&mut self, id: u64) -> &mut Expected {
        self.calls.get_mut(&id).unwrap()
    }

    fn calls_of(&self, number: usize) -> impl Iterator<Item = u64> {
        let is_on_it =
            move |(id, it): (&u64, &Expected)| (it.worker == Some(number)).then_some(*id);
        self.calls.iter().filter_map(is_on_it)
    }

    /// The call that was sent before all others that the worker has.
    fn oldest_of(&self, number: usize) -> Option<u64> {
        self.calls_of(number).min_by_key(|id| self.calls[id].sent)
    }

    fn worker(&self, number: usize) -> Worker {
        let mut started = self.workers.iter().flatten();
        *started.find(|it| it.number == number).unwrap()
    }

    fn cut_off(&mut self) {
        self.scheduler.cut_off();
        let calls = self.calls.values_mut();
        calls.for_each(|it| it.end = Some(End::Failed));
    }
}

proptest! {
    #[test]
    fn each_call_is_with_one_worker_and_ends_once(events in vec(event(), 0..200)) {
        let mut model = Model::new();
        for event in events {
            model.happens(event);
            model.check();
        }
        model.cut_off();
        for (id, expected) in model.calls.clone() {
            model.check_call(id, expected);
        }
        prop_assert_eq!((model.scheduler.in_flight(), model.scheduler.queued()), (0, 0));
    }
}
