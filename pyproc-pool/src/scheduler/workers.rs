//! Workers come and go, and so do at last all calls.

use std::{
    mem,
    task::{Context, Poll},
    time::Instant,
};

use pyproc_protocol::Peer;

use super::{
    CallId, Connection, ConnectionConfig, ConnectionId, Gone, Scheduler, Slot,
    call_table::CallState,
};
use crate::Error;

impl Scheduler {
    /// A worker is ready for the slot's calls.
    pub(crate) fn up(
        &mut self,
        slot: usize,
        peer: &Peer,
        config: ConnectionConfig,
        now: Instant,
    ) -> ConnectionId {
        let methods = self.methods.learn(peer);
        let limits = self.limits;
        let connect = |id| Connection::new(id, slot, peer, methods, config, limits);
        let id = self.connections.insert(connect);
        if let Slot::Taken(before) = mem::replace(&mut self.slots[slot], Slot::Taken(id)) {
            self.close(before);
        }
        self.refill(id, now);
        id
    }

    /// Another worker takes the slot next: the one that has it gets no further calls, and keeps those that it has.
    pub(crate) fn replace(&mut self, slot: usize) {
        if let Slot::Taken(id) = self.slots[slot] {
            self.on_drain(id);
            self.slots[slot] = Slot::Empty;
        }
    }

    /// The worker said that it takes no more requests.
    pub(crate) fn on_drain(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.drain();
        }
    }

    /// Whether the worker takes no more calls, and has answered all that it had.
    pub(crate) fn has_drained(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        connection.is_some_and(Connection::has_drained)
    }

    /// The connection has ended. The calls that the worker has stay until [`fail`](Self::fail).
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.close(id, &mut self.actions);
            self.forget_if_over(id);
        }
    }

    /// Every call that the worker of a closed connection has fails.
    pub(crate) fn fail(&mut self, id: ConnectionId, error: impl Fn() -> Error) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.forget_calls();
        for call in self.calls_on(id) {
            self.end_call(call, error());
        }
        self.forget_if_over(id);
        self.wake_if_drained();
    }

    fn calls_on(&self, id: ConnectionId) -> Vec<CallId> {
        let calls = self.calls.ids().filter(|(_, call)| match call.state {
            CallState::OnWorker { connection, .. } => connection == id,
            _ => false,
        });
        calls.map(|(call, _)| call).collect()
    }

    /// Forgets a connection that is closed and has no calls.
    pub(super) fn forget_if_over(&mut self, id: ConnectionId) {
        let Some(slot) = self.connections.remove_if_over(id) else {
            return;
        };
        if matches!(self.slots[slot], Slot::Taken(taken) if taken == id) {
            self.slots[slot] = Slot::Empty;
        }
    }

    /// No worker will take this slot again. When it was the last, all that waits fails.
    pub(crate) fn gone(&mut self, slot: usize, gone: Gone) {
        match self.slots[slot] {
            Slot::Gone(_) if matches!(gone, Gone::ShutDown) => return,
            Slot::Taken(id) => {
                self.close(id);
                self.fail(id, || gone.clone().into());
            }
            _ => {}
        }
        self.slots[slot] = Slot::Gone(gone);
        self.fail_if_all_gone();
        self.wake_if_drained();
    }

    /// What waits fails if no worker will come any more.
    pub(super) fn fail_if_all_gone(&mut self) {
        while self.queue.len() > 0
            && let Some(error) = self.all_gone()
            && let Some(id) = self.queue.pop(true, true, &self.calls)
        {
            self.end_call(id, error);
        }
    }

    /// The call fails, unless nobody waits for it.
    pub(super) fn end_call(&mut self, id: CallId, error: Error) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if let CallState::OnWorker {
            abandoned: true, ..
        } = call.state
        {
            self.calls.remove(id);
            return;
        }
        let before = mem::replace(&mut call.state, CallState::Done(Err(error)));
        self.actions.wake.extend(call.waker.take());
        if let CallState::Queued(_, request) = before {
            self.actions.discard.push(request.payload.into_bytes());
        }
    }

    /// New calls are refused.
    pub(crate) fn refuse_calls(&mut self) {
        self.open = false;
    }

    /// Every call that has no outcome yet fails with [`Error::ShutDown`]. What workers answer
    /// from now on reaches nobody.
    pub(crate) fn cut_off(&mut self) {
        while let Some(id) = self.queue.pop(true, true, &self.calls) {
            self.end_call(id, Error::ShutDown);
        }
        for id in self.connections.ids() {
            self.close(id);
            self.fail(id, || Error::ShutDown);
        }
        self.wake_if_drained();
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

    pub(super) fn wake_if_drained(&mut self) {
        // Nobody waits for this before a shutdown, so that counting costs nothing before.
        if !self.drained.is_empty() && self.unanswered() == 0 {
            self.actions.wake.append(&mut self.drained);
        }
    }

    /// Calls whose callers still wait for a worker to answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.calls
            .ids()
            .filter(|(_, call)| call.state.is_awaited())
            .count()
    }
}
