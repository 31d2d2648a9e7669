//! The calls of the simulation, and their callers.

use super::*;
use crate::scheduler::{call_table::CallState, tests::request};
use pyproc_protocol::Codec;

/// A caller that waits.
pub(super) struct Caller {
    pub(super) id: CallId,
    pub(super) deadline: Instant,
}

/// What is known of a call, whether or not its caller still waits.
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) concurrent: bool,
    /// Of two calls of a kind, the one with the lower place is dispatched first.
    pub(super) place: i64,
    /// The connection that it was dispatched to last.
    pub(super) connection: Option<ConnectionId>,
}

impl Simulation {
    pub(super) fn submit(&mut self) {
        let method = if self.rng.bool() { "async" } else { "plain" };
        let number = self.submitted;
        let mut outgoing = request(Codec::Json);
        let deadline = self.now + Duration::from_millis(1 + self.rng.u64(..900));
        outgoing.envelope.deadline = deadline;
        // It says which call output is attributed to.
        let headers = &mut outgoing.envelope.headers;
        headers.insert("baggage".into(), number.to_string());
        let waker = self.waker(Who::Caller(number));
        let found = self.scheduler.methods().find(method);
        let concurrent = self.scheduler.methods.is_concurrent(found);
        let admission = match self.rng.u8(..4) {
            0 => Admission::Now,
            _ => Admission::Queue,
        };
        self.submitted += 1;
        let submitted = self.scheduler.submit(
            (method, found),
            &mut Some(outgoing),
            admission,
            waker,
            self.now,
        );
        let submitted = match submitted {
            Ok(submitted) => submitted,
            Err(error) => return self.refused(error),
        };
        let id = submitted.id;
        let call = Call {
            number,
            concurrent,
            place: number as i64,
            connection: None,
        };
        self.calls.insert(id.to_wire(), call);
        self.callers.insert(number, Caller { id, deadline });
        match submitted.flush {
            Flush::Scheduled => {}
            Flush::Wake(waker) => self.wakes.push(waker),
            Flush::Write(batch) => self.write_batch(batch),
        }
    }

    fn refused(&mut self, error: Error) {
        let slots = &self.scheduler.slots;
        let all_stopped = slots.iter().all(|it| matches!(it, Slot::Stopped(_)));
        match error {
            Error::Overloaded { .. } => assert!(!all_stopped),
            Error::ShutDown | Error::RuntimeEnded => assert!(all_stopped),
            error => panic!("{error}"),
        }
        self.ended += 1;
    }

    pub(super) fn poll(&mut self, number: u64) {
        let Some(caller) = self.callers.get(&number) else {
            return;
        };
        let (id, deadline) = (caller.id, caller.deadline);
        let waker = self.waker(Who::Caller(number));
        match self
            .scheduler
            .poll_outcome(id, &mut Context::from_waker(&waker))
        {
            Poll::Pending => {}
            Poll::Ready(None) => {
                assert!(deadline <= self.now, "call {number} ended too early");
                self.leave(number);
            }
            Poll::Ready(Some(outcome)) => {
                if let Ok(answered) = outcome {
                    assert_eq!(answered.answer.id, id.to_wire());
                    let connection = self.calls[&id.to_wire()].connection;
                    let mut workers = self.workers.iter();
                    let by = workers.find(|it| Some(it.id) == connection);
                    assert_eq!(by.map(|it| it.slot), Some(answered.worker));
                }
                self.end(number);
            }
        }
    }

    fn leave(&mut self, number: u64) {
        let id = self.callers[&number].id;
        self.scheduler.cancel(id, "test");
        self.end(number);
    }

    fn end(&mut self, number: u64) {
        assert!(self.callers.remove(&number).is_some(), "it ended twice");
        self.ended += 1;
    }

    /// A caller waits no longer.
    pub(super) fn cancel(&mut self) {
        let count = self.callers.len();
        if count > 0 {
            let at = self.rng.usize(..count);
            let number = *self.callers.keys().nth(at).unwrap();
            self.leave(number);
        }
    }

    /// Notes which calls have been dispatched: before those of their kind that still wait.
    pub(super) fn note_dispatched(&mut self) {
        let mut first_that_waits = [i64::MAX; 2];
        let mut dispatched = Vec::new();
        for (id, call) in self.scheduler.calls.ids() {
            let known = &self.calls[&id.to_wire()];
            match call.state {
                CallState::Queued(..) => {
                    let first = &mut first_that_waits[usize::from(known.concurrent)];
                    *first = known.place.min(*first);
                }
                CallState::OnWorker { connection, .. } if known.connection != Some(connection) => {
                    dispatched.push((known.place, id.to_wire(), connection));
                }
                _ => {}
            }
        }
        dispatched.sort_unstable_by_key(|(place, ..)| *place);
        for (place, id, connection) in dispatched {
            let call = self.calls.get_mut(&id).unwrap();
            call.connection = Some(connection);
            let kind = usize::from(call.concurrent);
            assert!(place < first_that_waits[kind], "a call was overtaken");
            let mut workers = self.workers.iter_mut();
            let worker = workers.find(|it| it.id == connection).unwrap();
            worker.sent[kind].push_back(id);
        }
    }

    /// Calls that a worker has not begun are to go before all that wait, in the order in which they were dispatched.
    pub(super) fn place_first(&mut self, ids: Vec<u64>) {
        for id in ids.into_iter().rev() {
            self.first_place -= 1;
            self.calls.get_mut(&id).unwrap().place = self.first_place;
        }
    }
}
