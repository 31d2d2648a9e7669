//! Workers come and go, and so do at last all calls.

use std::{
    mem,
    task::{Context, Poll, Waker},
    time::Instant,
};

use pyproc_protocol::Peer;

use super::Scheduler;
use crate::{
    Error,
    scheduler::batches::Wire,
    scheduler::call_table::{Call, CallId, CallState},
    scheduler::connection::{Gone, LaneState, Link},
};

impl Scheduler {
    /// A worker is ready for calls.
    pub(crate) fn lane_up(
        &mut self,
        worker: usize,
        peer: &Peer,
        wire: Wire,
        now: Instant,
    ) -> Vec<Waker> {
        let methods = self.methods.learn(peer);
        let unsent = self.lanes[worker].open(Link::new(peer, methods), wire);
        self.spent.extend(unsent);
        let mut wakers = Vec::new();
        self.refill(worker, now, &mut wakers);
        wakers
    }

    /// The worker said that it takes no more requests.
    pub(crate) fn lane_drains(&mut self, worker: usize) {
        self.lanes[worker].drain();
    }

    /// See [`Lane::has_drained`](crate::scheduler::connection::Lane::has_drained).
    pub(crate) fn has_drained(&self, worker: usize) -> bool {
        self.lanes[worker].has_drained()
    }

    /// The worker gets no further calls. Those that it has stay until
    /// [`fail_lane`](Self::fail_lane).
    pub(crate) fn lane_down(&mut self, worker: usize) {
        let unsent = self.lanes[worker].enter(LaneState::Down);
        self.spent.extend(unsent);
    }

    /// Another worker takes the place: the one that has it gets no further calls, and keeps those that it has. Returns
    /// its lane from now on. There is one such at a time.
    pub(crate) fn lane_replaced(&mut self, worker: usize) -> usize {
        let lane = self.workers();
        self.lanes.swap(worker, lane);
        self.lanes[lane].drain();
        self.replaced = worker;
        for call in self.calls.calls_mut() {
            if let CallState::OnWorker { worker: on, .. } = &mut call.state
                && *on == worker
            {
                *on = lane;
            }
        }
        lane
    }

    /// No worker will take this place again. When it was the last, all that waits fails.
    pub(crate) fn lane_gone(&mut self, worker: usize, gone: Gone) -> Vec<Waker> {
        let was_gone = matches!(self.lanes[worker].state(), LaneState::Gone(_));
        if was_gone && matches!(gone, Gone::ShutDown) {
            return Vec::new();
        }
        let unsent = self.lanes[worker].enter(LaneState::Gone(gone.clone()));
        self.spent.extend(unsent);
        let mut wakers = self.fail_lane(worker, || gone.clone().into());
        while let Some(error) = self.all_gone() {
            let Some(id) = self.queue.pop(true, true) else {
                break;
            };
            wakers.extend(self.fail(id, error));
        }
        self.wake_if_drained(&mut wakers);
        wakers
    }

    /// Every call that the worker had fails.
    pub(crate) fn fail_lane(&mut self, worker: usize, error: impl Fn() -> Error) -> Vec<Waker> {
        self.lanes[worker].forget_calls();
        let is_on_it = |(id, call): (CallId, &Call)| match call.state {
            CallState::OnWorker { worker: on, .. } if on == worker => Some(id),
            _ => None,
        };
        let ids: Vec<CallId> = self.calls.ids().filter_map(is_on_it).collect();
        let mut wakers = Vec::new();
        for id in ids {
            wakers.extend(self.fail(id, error()));
        }
        self.wake_if_drained(&mut wakers);
        wakers
    }

    pub(super) fn fail(&mut self, id: CallId, error: Error) -> Option<Waker> {
        let call = self.calls.get(id)?;
        if let CallState::OnWorker {
            abandoned: true, ..
        } = call.state
        {
            self.calls.remove(id);
            return None;
        }
        let before = mem::replace(&mut call.state, CallState::Done(Err(error)));
        if let CallState::Queued(_, request) = before {
            self.spent.push(request.payload.into_bytes());
        }
        call.waker.take()
    }

    /// New calls are refused.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Every call that has no outcome yet fails with [`Error::ShutDown`]. What workers answer
    /// from now on reaches nobody.
    pub(crate) fn cut_off(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(id) = self.queue.pop(true, true) {
            wakers.extend(self.fail(id, Error::ShutDown));
        }
        for worker in 0..self.lanes.len() {
            if self.lanes[worker].is_up() {
                self.lane_down(worker);
            }
            wakers.extend(self.fail_lane(worker, || Error::ShutDown));
        }
        wakers
    }

    /// Ready when no caller waits for an answer any more.
    pub(crate) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unanswered() == 0 {
            return Poll::Ready(());
        }
        if !self.drained.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.drained.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
