//! What must be true after each event.

use super::*;

impl Model {
    pub(super) fn check(&mut self) {
        for index in 0..=WORKERS {
            self.check_requests(index);
        }
        for (id, expected) in self.calls.clone() {
            self.check_call(id, expected);
        }
        let on_workers = self.calls.values().filter(|it| it.worker.is_some()).count();
        assert_eq!(self.scheduler.in_flight(), on_workers);
        assert_eq!(self.scheduler.queued(), self.calls.len() - on_workers);
        let slots = (0..WORKERS).map(|slot| self.scheduler.in_flight_of(slot));
        assert_eq!(slots.sum::<usize>(), on_workers);
        for index in 0..=WORKERS {
            self.check_worker(index);
        }
        // What is over is forgotten.
        let present = self.workers.iter().flatten().count();
        assert!(self.scheduler.connections.ids().len() <= present);
        self.scheduler.actions().take();
    }

    /// Each call goes to one worker, once, and none to one that takes no more.
    fn check_requests(&mut self, index: usize) {
        let Some(worker) = self.workers[index] else {
            return;
        };
        let bytes = frames(&mut self.scheduler, worker.connection);
        for id in requests(&bytes) {
            assert_eq!(worker.state, State::Open);
            self.sent += 1;
            let sent = self.sent;
            let expected = self.expect(id);
            assert_eq!(expected.worker.replace(worker.number), None);
            expected.sent = sent;
        }
    }

    pub(super) fn check_call(&mut self, id: u64, expected: Expected) {
        let call_id = CallId::from_wire(id);
        if let Some(end) = expected.end {
            self.calls.remove(&id);
            if !expected.cancelled {
                assert_eq!(self.outcome(call_id), end);
            }
            assert!(self.scheduler.calls.get(call_id).is_none());
            return;
        }
        let on = expected.worker.map(|number| self.worker(number).connection);
        match &self.scheduler.calls.get(call_id).unwrap().state {
            CallState::Queued(..) => assert_eq!(on, None),
            CallState::OnWorker {
                connection,
                cancelled,
                ..
            } => assert_eq!((Some(*connection), *cancelled), (on, expected.cancelled)),
            CallState::Done(outcome) => panic!("it has ended: {outcome:?}"),
        }
    }

    fn outcome(&mut self, id: CallId) -> End {
        let mut cx = Context::from_waker(Waker::noop());
        match self.scheduler.poll_outcome(id, &mut cx) {
            Poll::Ready(Some(Ok(answered))) => End::AnsweredBy {
                slot: answered.worker,
            },
            Poll::Ready(Some(Err(_))) => End::Failed,
            Poll::Ready(None) | Poll::Pending => panic!("it has not ended"),
        }
    }

    /// It has as many calls as it counts and may have, and none waits that it has room for.
    fn check_worker(&self, index: usize) {
        let Some(worker) = self.workers[index] else {
            return;
        };
        let calls = self.calls_of(worker.number).count();
        assert!(calls <= LIMITS.max_in_flight);
        let connection = self.scheduler.connections.get(worker.connection);
        assert_eq!(connection.map_or(0, |it| it.in_flight), calls);
        let finished = worker.state == State::Closed && calls == 0;
        assert_eq!(self.scheduler.has_drained(worker.connection), finished);
        for concurrent in [false, true] {
            let waits = !self.scheduler.queue.is_empty(concurrent);
            assert!(!(waits && connection.is_some_and(|it| it.has_room(concurrent))));
        }
    }
}

/// The ids of the requests among frames.
fn requests(mut frames: &[u8]) -> Vec<u64> {
    let mut ids = Vec::new();
    while let Some((length, rest)) = frames.split_first_chunk() {
        let (frame, next) = rest.split_at(u32::from_be_bytes(*length) as usize);
        match frame[0] {
            0x01 => ids.push(u64::from_be_bytes(frame[4..12].try_into().unwrap())),
            b'{' => ids.extend(Message::decode(&frame.to_vec().into()).map(id_of)),
            _ => {}
        }
        frames = next;
    }
    ids
}

fn id_of(message: Message) -> u64 {
    match message {
        Message::Request(request) => request.id,
        other => panic!("no request: {other:?}"),
    }
}
