//! Bytes that have arrived become requests that wait, answers to requests that are cancelled, or the end of the input.

use std::io;

use pyo3::prelude::*;
use pyproc_protocol::v2::Method;
use pyproc_protocol::{Failure, v2};
use pyproc_protocol::{SessionError, Version, WorkerEvent};

use super::connection::Connection;
use super::large_payload::LargePayload;
use super::request::{Call, CallBody, CallMetadata, ListedFunction, PendingRequest, Target};
use crate::ffi::{self, UnfinishedBytes};

/// Raw payloads of at least so many bytes are received straight into their object.
const LARGE: usize = 64 * 1024;

/// Requests that clients cancelled.
pub(crate) struct Cancellations<'a> {
    /// The answer to requests that have not started.
    pub(crate) failure: &'a Failure,
    /// Requests that run, or have been answered.
    pub(crate) started: Vec<u64>,
}

impl Connection {
    /// Takes what has arrived. With the interpreter lock, a large payload gets its object at
    /// once.
    pub(crate) fn receive(
        &mut self,
        py: Option<Python<'_>>,
        cancellations: &mut Cancellations<'_>,
    ) -> io::Result<()> {
        if self.large.is_some() {
            return self.receive_large();
        }
        let missing = self.limits.read_size.saturating_sub(self.input.len());
        self.input.reserve(missing.max(1));
        let Some(count) = unless_empty(ffi::receive(&*self.socket, &mut self.input))? else {
            return Ok(());
        };
        if count == 0 {
            self.input_ended = true;
            return Ok(());
        }
        // An upper bound suffices: it starts anew whenever all requests have started.
        self.backlog = if !self.has_pending() {
            count
        } else {
            self.backlog + count
        };
        if let Err(error) = self.take_events(cancellations) {
            self.end_input(&error);
        } else if let Some(py) = py {
            self.begin_large(py);
        }
        Ok(())
    }

    fn take_events(&mut self, cancellations: &mut Cancellations<'_>) -> Result<(), SessionError> {
        while let Some(event) = self.session.receive(&mut self.input, self.outgoing.end())? {
            match event {
                WorkerEvent::Request { version, request } => {
                    let call = self.call(version, request);
                    self.enqueue(call);
                }
                WorkerEvent::Cancellation(it) => self.cancel(it.id, cancellations),
                WorkerEvent::Hello(greeting) => {
                    self.pending.push_back(PendingRequest::Hello(greeting));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn call(&self, version: Version, request: v2::Request) -> Call {
        let target = match request.method {
            Method::Name(name) => Target::Name(name),
            Method::Index(index) => match self.table.get(usize::from(index)) {
                Some(ListedFunction {
                    async_name: Some(name),
                    ..
                }) => Target::Name(name.to_string()),
                Some(ListedFunction { id, .. }) => Target::Function(*id),
                None => Target::Index(index),
            },
        };
        Call {
            id: request.id,
            version,
            target,
            codec: request.body.codec,
            wants_times: request.wants_times,
            metadata: CallMetadata::new(request.trace, request.headers),
            body: CallBody::Frame(request.body.bytes),
        }
    }

    fn enqueue(&mut self, call: Call) {
        match &call.target {
            // The client assigns answers to requests without ids by their order.
            Target::Name(name) if call.id != 0 && self.async_names.contains(name) => {
                self.pending_async.push_back(call);
            }
            _ => self.pending.push_back(PendingRequest::Call(call)),
        }
    }

    /// Answers a request that waits at once. A later request may have the same id.
    fn cancel(&mut self, id: u64, cancellations: &mut Cancellations<'_>) {
        let mut versions = Vec::new();
        let mut stays = |call: &Call| {
            if call.id == id {
                versions.push(call.version);
            }
            call.id != id
        };
        self.pending_async.retain(&mut stays);
        self.pending.retain(|request| match request {
            PendingRequest::Call(call) => stays(call),
            PendingRequest::Hello(_) => true, // a hello is always answered
        });
        for version in versions {
            self.fail(version, id, cancellations.failure);
        }
        cancellations.started.push(id);
    }

    /// If a request with a large raw payload has begun to arrive, moves the beginning of the payload into its object,
    /// where the rest will follow.
    fn begin_large(&mut self, py: Python<'_>) {
        let Some(begun) = self.session.partial_request(&self.input, LARGE) else {
            return;
        };
        // If there is no memory, the call fails once the frame is complete.
        if let Ok(mut bytes) = UnfinishedBytes::new(py, begun.payload_len) {
            bytes.append(begun.received(&self.input));
            self.session.take_partial_request(&begun, &mut self.input);
            let call = self.call(Version::V2, begun.request);
            self.large = Some(LargePayload::new(call, bytes));
        }
    }

    fn receive_large(&mut self) -> io::Result<()> {
        let Some(large) = &mut self.large else {
            return Ok(());
        };
        match unless_empty(large.receive(&*self.socket))? {
            None => return Ok(()),
            Some(0) => self.input_ended = true,
            Some(count) => self.backlog += count,
        }
        if !large.is_complete() {
            return Ok(());
        }
        let call = self.large.take().and_then(LargePayload::finish);
        // A drain may have begun since the payload began.
        if let Some(call) = call
            && !self.session.is_draining()
        {
            self.enqueue(call);
        }
        Ok(())
    }
}

/// `None` if nothing has arrived.
fn unless_empty(received: io::Result<usize>) -> io::Result<Option<usize>> {
    match received {
        Ok(count) => Ok(Some(count)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
