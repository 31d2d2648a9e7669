//! What a client sent becomes calls that wait, answers to those that are cancelled, or the end.

use std::io;

use pyo3::prelude::*;
use pyproc_protocol::v2::{self, Failure, Method};
use pyproc_protocol::{SessionError, Version, WorkerEvent};

use super::{Call, CallBody, Connection, Known, Listed, Target, Waiting};
use crate::ffi;

/// What clients no longer want.
pub(crate) struct Cancellations<'a> {
    /// The answer to requests that have not started.
    pub(crate) failure: &'a Failure,
    /// Requests that may run, or have been answered.
    pub(crate) started: Vec<u64>,
}

impl Connection {
    /// Takes what has arrived. With the interpreter lock, a large payload is given its object at
    /// once.
    pub(crate) fn receive(
        &mut self,
        py: Option<Python<'_>>,
        cancellations: &mut Cancellations<'_>,
    ) -> io::Result<()> {
        if self.large.is_some() {
            return self.receive_large();
        }
        let room = self.limits.read_size.saturating_sub(self.input.len());
        self.input.reserve(room.max(1));
        let Some(count) = arrived(ffi::receive(&*self.socket, &mut self.input))? else {
            return Ok(());
        };
        if count == 0 {
            self.ended = true;
            return Ok(());
        }
        // An upper bound suffices: it falls to zero whenever all requests have started.
        self.backlog = if !self.is_waiting() {
            count
        } else {
            self.backlog + count
        };
        if let Err(error) = self.take_events(cancellations) {
            self.end_with(&error);
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
                WorkerEvent::Hello(greeting) => self.waiting.push_back(Waiting::Hello(greeting)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn call(&self, version: Version, request: v2::Request) -> Call {
        let target = match request.method {
            Method::Name(name) => Target::Name(name),
            Method::Index(index) => match self.table.get(usize::from(index)) {
                Some(Listed {
                    concurrent: Some(name),
                    ..
                }) => Target::Name(name.to_string()),
                Some(Listed { id, .. }) => Target::Function(*id),
                None => Target::Index(index),
            },
        };
        Call {
            id: request.id,
            version,
            target,
            codec: request.body.codec,
            wants_times: request.wants_times,
            known: Known::new(request.trace, request.headers),
            body: CallBody::Frame(request.body.bytes),
        }
    }

    pub(super) fn enqueue(&mut self, call: Call) {
        match &call.target {
            // Its client tells answers to requests without ids by their order.
            Target::Name(name) if call.id != 0 && self.concurrent_names.contains(name) => {
                self.waiting_concurrent.push_back(call);
            }
            _ => self.waiting.push_back(Waiting::Call(call)),
        }
    }

    /// A request that waits is answered at once. A later request may have its id again.
    fn cancel(&mut self, id: u64, cancellations: &mut Cancellations<'_>) {
        let mut versions = Vec::new();
        let mut stays = |call: &Call| {
            if call.id == id {
                versions.push(call.version);
            }
            call.id != id
        };
        self.waiting_concurrent.retain(&mut stays);
        self.waiting.retain(|waiting| match waiting {
            Waiting::Call(call) => stays(call),
            _ => true, // a hello is always answered
        });
        for version in versions {
            self.fail(version, id, cancellations.failure);
        }
        cancellations.started.push(id);
    }

    fn end_with(&mut self, error: &SessionError) {
        self.ended = true;
        let mut farewell = Vec::new();
        self.session.farewell(error, &mut farewell);
        self.farewell = Some(farewell);
    }
}

/// `None` if nothing has.
pub(super) fn arrived(received: io::Result<usize>) -> io::Result<Option<usize>> {
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
