//! What is behind the worker's lock.

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem;
use std::sync::Arc;

use pyo3::prelude::*;
use pyproc_protocol::Failure;
use pyproc_protocol::{AcceptedHello, Version};

use super::calls::{AsyncCall, CancelledCalls, RunningCall, StartedRequest};
use super::connections::{ConnectionId, Connections};
use crate::transport::{
    Call, CallMetadata, Cancellations, Channel, Connection, PendingRequest, RefusedConnections,
};

pub(crate) struct SharedState {
    connections: Connections,
    running: Option<RunningCall>,
    async_calls: HashMap<u64, AsyncCall>,
    last_token: u64,
    /// Connections with answers of the event loop that are not sent yet.
    pub(crate) unsent: Vec<ConnectionId>,
    pub(crate) draining: bool,
    /// Connections that the serving thread does not poll yet.
    pub(crate) accepted: Vec<ConnectionId>,
    pub(crate) refused: RefusedConnections,
    /// The exception by which a coroutine ends the worker.
    pub(crate) exit: Option<PyErr>,
    /// The answer to requests that are cancelled before they start.
    cancelled: Arc<Failure>,
    /// The `async def` functions, as far as they are known without the interpreter lock.
    pub(crate) async_names: Arc<HashSet<String>>,
}

impl SharedState {
    pub(super) fn new(cancelled: Failure) -> Self {
        Self {
            connections: Connections::default(),
            running: None,
            async_calls: HashMap::new(),
            last_token: 0,
            unsent: Vec::new(),
            draining: false,
            accepted: Vec::new(),
            refused: RefusedConnections::default(),
            exit: None,
            cancelled: Arc::new(cancelled),
            async_names: Arc::default(),
        }
    }

    // Connections

    pub(crate) fn add(&mut self, connection: Connection) -> ConnectionId {
        self.connections.add(connection)
    }

    pub(crate) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get(id)
    }

    pub(crate) fn connections(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Connection)> {
        self.connections.iter()
    }

    /// Removes a connection. The functions that run for it are to be cancelled.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> (Option<Connection>, CancelledCalls) {
        match self.connections.remove(id) {
            Some(connection) => (Some(connection), self.cancelled_calls(id, |_| true)),
            None => (None, CancelledCalls::default()),
        }
    }

    /// Reads from a connection. Of the requests that were cancelled, those that wait are answered, and the functions
    /// of those that run are to be cancelled.
    pub(crate) fn receive(
        &mut self,
        py: Option<Python<'_>>,
        id: ConnectionId,
    ) -> (io::Result<()>, CancelledCalls) {
        let failure = Arc::clone(&self.cancelled);
        let mut cancellations = Cancellations {
            failure: &failure,
            started: Vec::new(),
        };
        let Some(connection) = self.get(id) else {
            return (Ok(()), CancelledCalls::default());
        };
        let received = connection.receive(py, &mut cancellations);
        let cancelled = match &cancellations.started[..] {
            [] => CancelledCalls::default(),
            started => self.cancelled_calls(id, |id| started.contains(&id)),
        };
        (received, cancelled)
    }

    /// The functions that run for a connection's requests of certain ids.
    pub(crate) fn cancelled_calls(
        &self,
        connection_id: ConnectionId,
        ids: impl Fn(u64) -> bool,
    ) -> CancelledCalls {
        let mut cancelled = CancelledCalls::default();
        if let Some(running) = &self.running
            && running.connection_id == connection_id
            && ids(running.id)
        {
            cancelled.events.extend(running.event.clone());
        }
        for (token, call) in &self.async_calls {
            if call.connection_id == connection_id && ids(call.id) {
                cancelled.events.extend(call.event.clone());
                cancelled.tokens.push(*token);
            }
        }
        cancelled
    }

    /// The channel for records of a connection's client, if the client asked for records.
    pub(crate) fn channel(&mut self, id: ConnectionId) -> Option<Channel> {
        self.get(id)?.channel.clone()
    }

    /// Whether every connection has sent all that it has to send.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.connections()
            .all(|(_, connection)| connection.is_idle())
    }

    // Plain functions

    /// Takes the next request of a connection, which counts as running from now on.
    pub(crate) fn start_next(&mut self, connection_id: ConnectionId) -> Option<StartedRequest> {
        let connection = self.get(connection_id)?;
        let request = match connection.pending_async.pop_front() {
            Some(call) => PendingRequest::Call(call),
            None if connection.is_blocked => return None,
            None => connection.pending.pop_front()?,
        };
        let version = match &request {
            PendingRequest::Call(call) => call.version,
            PendingRequest::Hello(_) => Version::V1,
        };
        let form = connection.session.response_encoder(version);
        let running = match &request {
            PendingRequest::Call(call) => Some(RunningCall {
                connection_id,
                id: call.id,
                event: None,
                metadata: call.metadata.clone(),
            }),
            PendingRequest::Hello(_) => None,
        };
        Some(StartedRequest {
            request,
            form,
            _previous: mem::replace(&mut self.running, running),
        })
    }

    /// What came with the request of the plain function that runs, and the channel for its records, if there is either.
    pub(crate) fn running_call_info(&mut self) -> Option<(CallMetadata, Option<Channel>)> {
        let running = self.running.as_ref()?;
        let (connection_id, metadata) = (running.connection_id, running.metadata.clone());
        let channel = self.channel(connection_id);
        let is_something = channel.is_some() || !metadata.is_empty();
        is_something.then_some((metadata, channel))
    }

    /// The function that runs takes a `cancel_event`.
    pub(crate) fn set_event(&mut self, event: Arc<Py<PyAny>>) {
        if let Some(running) = &mut self.running {
            running.event = Some(event);
        }
    }

    /// No plain function runs. The caller drops what is returned after it has released the lock.
    #[must_use]
    pub(crate) fn stop_running(&mut self) -> Option<RunningCall> {
        self.running.take()
    }

    /// The request that was started last did not start after all.
    pub(crate) fn put_back(&mut self, id: ConnectionId, request: PendingRequest) {
        self.running = None;
        if let Some(connection) = self.get(id) {
            connection.pending.push_front(request);
        }
    }

    /// A hello that was taken out is not answered yet.
    pub(crate) fn put_back_hello(&mut self, id: ConnectionId, greeting: AcceptedHello) {
        if let Some(connection) = self.get(id) {
            connection.is_blocked = false;
            connection
                .pending
                .push_front(PendingRequest::Hello(greeting));
        }
    }

    /// A call that was taken out as one of an `async def` function is one of a plain function.
    pub(crate) fn put_back_plain(&mut self, id: ConnectionId, request: PendingRequest) {
        if let Some(connection) = self.get(id) {
            connection.pending.push_back(request);
        }
    }

    // Functions on the event loop

    /// Takes the requests of a connection that the event loop can start at once, and the channel for their records.
    /// They count as running until `on_async_begun`.
    pub(crate) fn take_pending_async(&mut self, id: ConnectionId) -> (Vec<Call>, Option<Channel>) {
        let Some(connection) = self.get(id) else {
            return (Vec::new(), None);
        };
        let calls: Vec<Call> = connection.pending_async.drain(..).collect();
        connection.async_calls += calls.len();
        (calls, connection.channel.clone())
    }

    /// So many calls that were taken out have begun, were put back or were answered.
    pub(crate) fn on_async_begun(&mut self, id: ConnectionId, count: usize) {
        if let Some(connection) = self.get(id) {
            connection.async_calls -= count;
        }
    }

    /// Calls that were taken out did not start after all.
    pub(crate) fn put_back_async(&mut self, id: ConnectionId, calls: Vec<Call>) {
        if let Some(connection) = self.get(id) {
            connection.async_calls -= calls.len();
            connection.pending_async.extend(calls);
        }
    }

    /// Enters a call that is about to run on the event loop. Returns its token.
    pub(crate) fn begin_async(&mut self, call: AsyncCall) -> u64 {
        if let Some(connection) = self.get(call.connection_id) {
            connection.async_calls += 1;
            connection.async_bytes += call.size;
            connection.is_blocked |= call.id == 0;
        }
        self.last_token += 1;
        self.async_calls.insert(self.last_token, call);
        self.last_token
    }

    pub(crate) fn end_async(&mut self, token: u64) -> Option<AsyncCall> {
        let call = self.async_calls.remove(&token)?;
        if let Some(connection) = self.get(call.connection_id) {
            connection.async_calls -= 1;
            connection.async_bytes -= call.size;
        }
        Some(call)
    }

    /// Whether calls run on the event loop for a client that is still connected.
    pub(crate) fn has_async_calls(&mut self) -> bool {
        self.connections()
            .any(|(_, connection)| connection.async_calls > 0)
    }
}
