//! A seeded simulation: a virtual clock, scripted workers, torn writes, events that are delayed or come in another order.
//!
//! A seed that fails can be run again with `PYPROC_SIM_SEED`; `PYPROC_SIM_CALLS` sets the number of calls in all.

use std::{
    collections::{BTreeMap, VecDeque},
    env, mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake},
    time::Duration,
};

use fastrand::Rng;

use self::{
    calls::{Call, Caller},
    workers::Worker,
};
use super::*;

mod calls;
mod disturbances;
mod workers;

const SLOTS: usize = 3;
const LIMITS: Limits = Limits {
    max_in_flight: 4,
    max_queue: 20,
    max_frame_size: 1000,
};
/// Calls of one seed.
const CALLS: usize = 2000;
/// Steps of a round. After each round everything comes to rest.
const STEPS: usize = 300;

/// Whom a waker wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Caller(u64),
    Connection(ConnectionId),
    /// Waits until no call is without an outcome.
    Shutdown,
}

struct Alarm(Who, Arc<Mutex<Vec<Who>>>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

struct Simulation {
    rng: Rng,
    now: Instant,
    scheduler: Scheduler,
    armed: Option<Instant>,
    woken: Arc<Mutex<Vec<Who>>>,
    /// Wake-ups that the scheduler asked for and that are still to come.
    wakes: Vec<Waker>,
    callers: BTreeMap<u64, Caller>,
    /// Every call of this round, by its id on the wire.
    calls: BTreeMap<u64, Call>,
    workers: Vec<Worker>,
    submitted: u64,
    ended: u64,
    /// The first place in the queue that is still free.
    first_place: i64,
    /// Workers answer nothing in this round.
    hung: bool,
    waits_for_last: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            now: Instant::now(),
            scheduler: Scheduler::new(SLOTS, LIMITS),
            armed: None,
            woken: Arc::default(),
            wakes: Vec::new(),
            callers: BTreeMap::new(),
            calls: BTreeMap::new(),
            workers: Vec::new(),
            submitted: 0,
            ended: 0,
            first_place: 0,
            hung: false,
            waits_for_last: false,
        }
    }

    fn run(&mut self, calls: usize) {
        while (self.submitted as usize) < calls {
            self.hung = self.rng.u8(..) < 60;
            for _ in 0..STEPS {
                self.step();
                self.check();
            }
            self.rest();
        }
    }

    fn step(&mut self) {
        match self.rng.u8(..100) {
            0..30 => self.submit(),
            30..45 => self.wake_one(),
            45..60 => self.write(),
            60..70 => self.work(),
            70..82 => self.deliver(),
            82..86 => self.cancel(),
            86..90 => {
                let time = self.rng.u64(..20);
                self.pass(Duration::from_millis(time));
            }
            90..96 => self.start(),
            96..98 => self.disturb(),
            98 => self.wait_for_last(),
            _ => {}
        }
        self.carry_out();
    }

    fn waker(&self, who: Who) -> Waker {
        Arc::new(Alarm(who, self.woken.clone())).into()
    }

    fn carry_out(&mut self) {
        let actions = self.scheduler.actions().take();
        for (id, attribution) in actions.attribute {
            let mut workers = self.workers.iter_mut();
            workers
                .find(|it| it.id == id)
                .unwrap()
                .attribute(attribution);
        }
        if let Some(arm) = actions.arm {
            self.armed = Some(self.armed.map_or(arm, |it| it.min(arm)));
        }
        self.wakes.extend(actions.wake);
    }

    /// One of those that are to be woken runs.
    fn wake_one(&mut self) {
        if !self.wakes.is_empty() {
            let at = self.rng.usize(..self.wakes.len());
            self.wakes.swap_remove(at).wake();
        }
        let woken = mem::take(&mut *self.woken.lock().unwrap());
        for who in woken {
            match who {
                Who::Caller(number) => self.poll(number),
                Who::Connection(id) => {
                    if let Some(at) = self.workers.iter().position(|it| it.id == id) {
                        self.ask_for_frames(at);
                    }
                }
                Who::Shutdown => self.wait_for_last(),
            }
        }
    }

    fn wait_for_last(&mut self) {
        let waker = self.waker(Who::Shutdown);
        let polled = self
            .scheduler
            .poll_drained(&mut Context::from_waker(&waker));
        self.waits_for_last = polled.is_pending();
        let mut calls = self.scheduler.calls.ids();
        let is_awaited = calls.any(|(_, it)| it.state.is_awaited());
        assert_eq!(self.waits_for_last, is_awaited, "the last answer");
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.armed.is_some_and(|it| it <= self.now) {
            self.scheduler.on_time(self.now);
            self.armed = self.scheduler.next_deadline();
            self.carry_out();
        }
        for caller in self.callers.values().filter(|it| it.deadline <= self.now) {
            let call = self.scheduler.calls.get(caller.id);
            let missed = call.is_some_and(|it| it.state.is_awaited() && it.deadline.is_some());
            assert!(!missed, "a deadline was missed");
        }
    }

    fn check(&mut self) {
        self.note_dispatched();
        assert!(self.scheduler.in_flight() <= LIMITS.max_in_flight * self.workers.len());
        let workers = self.workers.iter().filter(|it| !it.over);
        workers.for_each(|it| it.check(&self.scheduler));
        for (_, connection) in self.scheduler.current() {
            for concurrent in [false, true] {
                let waits = !self.scheduler.queue.is_empty(concurrent);
                assert!(!waits || !connection.has_room(concurrent), "a call waits");
            }
        }
        let mut slots = self.scheduler.slots.iter();
        if slots.all(|it| matches!(it, Slot::Stopped(_))) {
            assert_eq!(self.scheduler.queued(), 0, "no worker will come");
        }
    }

    /// All that is on its way arrives. Then no caller waits, and no capacity is taken.
    fn rest(&mut self) {
        if self.hung {
            self.settle(false);
            self.pass(Duration::from_secs(1));
            self.settle(false);
            assert!(self.callers.is_empty(), "a deadline was missed");
            assert!(!self.waits_for_last, "nobody woke who waits for the last");
            self.hung = false;
        }
        match self.rng.u8(..8) {
            0 => self.cut_off(),
            1 => (0..SLOTS).for_each(|slot| self.stop_slot(slot)),
            _ => self.start_all(),
        }
        self.settle(true);
        let left: Vec<_> = self.callers.keys().collect();
        assert!(left.is_empty(), "nobody woke {left:?}");
        assert!(!self.waits_for_last, "nobody woke who waits for the last");
        assert_eq!(self.scheduler.in_flight(), 0, "capacity is lost");
        assert_eq!(self.scheduler.queued(), 0);
        assert_eq!(self.scheduler.calls.len(), 0, "calls are left");
        assert_eq!(self.ended, self.submitted);
        self.calls.clear();
        self.workers.retain(|it| !it.over);
        self.start_all();
    }

    /// Continues with the clock stopped until nothing happens.
    fn settle(&mut self, restarts: bool) {
        for _ in 0..200 {
            if self.is_settled(restarts) {
                return;
            }
            while !self.wakes.is_empty() {
                self.wake_one();
                self.carry_out();
            }
            for at in 0..self.workers.len() {
                if self.workers[at].over {
                    continue;
                }
                self.write_to(at, true);
                if !self.hung {
                    let worker = &mut self.workers[at];
                    worker.answers.extend(worker.has.drain(..));
                }
                self.deliver_to(at, usize::MAX);
                self.carry_out();
            }
            for slot in 0..SLOTS {
                if restarts && matches!(self.scheduler.slots[slot], Slot::Empty) {
                    self.on_ready(slot);
                }
            }
            self.check();
        }
        panic!("it does not come to rest");
    }

    fn is_settled(&self, restarts: bool) -> bool {
        let mut slots = self.scheduler.slots.iter();
        let all_started = !restarts || !slots.any(|it| matches!(it, Slot::Empty));
        let mut workers = self.workers.iter();
        self.wakes.is_empty() && all_started && workers.all(|it| it.is_settled(self.hung))
    }
}

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_is_delayed_torn_or_lost_each_call_has_one_outcome() {
    let calls = variable("PYPROC_SIM_CALLS").unwrap_or(100_000) as usize;
    let seeds = match variable("PYPROC_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..calls.div_ceil(CALLS) as u64,
    };
    for seed in seeds {
        let mut simulation = Simulation::new(seed);
        let ran = catch_unwind(AssertUnwindSafe(|| simulation.run(CALLS)));
        if let Err(panic) = ran {
            eprintln!(
                "seed {seed} failed after {} calls; again: PYPROC_SIM_SEED={seed} cargo test -p pyproc-pool --lib simulation",
                simulation.submitted
            );
            resume_unwind(panic);
        }
    }
}
