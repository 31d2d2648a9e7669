//! The events of workers: ready, draining, replaced, closed, stopped; and the end of all calls.

use std::{
    mem,
    task::{Context, Poll},
    time::Instant,
};

use pyproc_protocol::Peer;

use super::{
    CallId, Connection, ConnectionConfig, ConnectionId, Scheduler, Slot, StopReason,
    call_table::CallState,
};
use crate::Error;

impl Scheduler {
    /// A worker is ready for the slot's calls.
    pub(crate) fn on_ready(
        &mut self,
        slot: usize,
        peer: &Peer,
        config: ConnectionConfig,
        now: Instant,
    ) -> ConnectionId {
        let methods = self.methods.register(peer);
        let limits = self.limits;
        let connect = |id| Connection::new(id, slot, peer, methods, config, limits);
        let id = self.connections.insert(connect);
        if let Slot::Taken(before) = mem::replace(&mut self.slots[slot], Slot::Taken(id)) {
            self.close(before);
        }
        self.refill(id, now);
        id
    }

    /// Another worker will take the slot. The present one gets no further calls, and finishes those that it has.
    pub(crate) fn replace(&mut self, slot: usize) {
        if let Slot::Taken(id) = self.slots[slot] {
            self.on_drain(id);
            self.slots[slot] = Slot::Empty;
        }
    }

    /// The worker accepts no more requests.
    pub(crate) fn on_drain(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.drain();
        }
    }

    /// Whether the worker accepts no calls, and has answered all that it had.
    pub(crate) fn has_drained(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        connection.is_some_and(Connection::has_drained)
    }

    /// The connection has ended. Its calls stay in flight until [`fail`](Self::fail).
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.close(id, &mut self.actions);
            self.forget_if_over(id);
        }
    }

    /// All calls of a closed connection fail.
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

    /// Removes a connection if it is closed and has no calls.
    pub(super) fn forget_if_over(&mut self, id: ConnectionId) {
        let Some(slot) = self.connections.remove_if_over(id) else {
            return;
        };
        if matches!(self.slots[slot], Slot::Taken(taken) if taken == id) {
            self.slots[slot] = Slot::Empty;
        }
    }

    /// No further worker will take this slot. If it was the last slot, all queued calls fail.
    pub(crate) fn stop_slot(&mut self, slot: usize, reason: StopReason) {
        match self.slots[slot] {
            Slot::Stopped(_) if matches!(reason, StopReason::ShutDown) => return,
            Slot::Taken(id) => {
                self.close(id);
                self.fail(id, || reason.clone().into());
            }
            _ => {}
        }
        self.slots[slot] = Slot::Stopped(reason);
        self.fail_queue_if_all_stopped();
        self.wake_if_drained();
    }

    /// All queued calls fail if no worker will ever be ready.
    pub(super) fn fail_queue_if_all_stopped(&mut self) {
        while self.queue.len() > 0
            && let Some(error) = self.all_stopped()
            && let Some(id) = self.queue.pop(true, true, &self.calls)
        {
            self.end_call(id, error);
        }
    }

    /// The call fails. If it was cancelled, it leaves the table.
    pub(super) fn end_call(&mut self, id: CallId, error: Error) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if let CallState::OnWorker {
            cancelled: true, ..
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

    /// New calls are rejected from now on.
    pub(crate) fn refuse_calls(&mut self) {
        self.open = false;
    }

    /// All calls without an outcome fail with [`Error::ShutDown`]. Later answers of workers are dropped.
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

    /// Ready when no caller waits for an answer.
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
        // Only a shutdown waits for this, so counting costs nothing before one.
        if !self.drained.is_empty() && self.unanswered() == 0 {
            self.actions.wake.append(&mut self.drained);
        }
    }

    /// Number of calls whose callers wait for an outcome.
    pub(crate) fn unanswered(&self) -> usize {
        self.calls
            .ids()
            .filter(|(_, call)| call.state.is_awaited())
            .count()
    }
}
