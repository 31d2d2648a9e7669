//! Bytes become requests.

use std::io;

use bytes::Bytes;
use pyo3::prelude::*;
use pyproc_protocol::v2::{self, Failure, Method};
use pyproc_protocol::{FrameError, HELLO_METHOD, Hello, Message, Request, Response, Version};

use super::{Call, CallBody, Connection, Greeting, Known, Listed, Target, Waiting};
use crate::ffi;

/// Characters; as JSON, each takes at most six bytes of the smallest maximum of 1,024.
const LONGEST_REASON: usize = 160;

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
        if let Err(broken) = self.decode(cancellations) {
            self.end_with(broken);
        } else if let Some(py) = py {
            self.begin_large(py);
        }
        Ok(())
    }

    fn decode(&mut self, cancellations: &mut Cancellations<'_>) -> Result<(), Broken> {
        while let Some(frame) = self
            .decoder
            .decode(&mut self.input)
            .map_err(|error| Broken(self.at_its_offset(error).to_string()))?
        {
            if self.version == Version::V2 && is_binary(&frame) {
                self.take_binary(frame, cancellations)?;
            } else {
                self.take_json(&frame, cancellations)?;
            }
        }
        Ok(())
    }

    /// The error at its place in the stream: the decoder has not seen all of it.
    fn at_its_offset(&self, mut error: FrameError) -> FrameError {
        match &mut error {
            FrameError::Empty { offset } | FrameError::TooLarge { offset, .. } => {
                *offset += self.beside_decoder;
            }
            _ => {}
        }
        error
    }

    fn take_binary(
        &mut self,
        frame: Bytes,
        cancellations: &mut Cancellations<'_>,
    ) -> Result<(), Broken> {
        let message = v2::Message::of_frame(frame).map_err(|error| Broken(error.to_string()))?;
        match message {
            v2::Message::Request(request) => {
                let call = self.call(Version::V2, request);
                self.enqueue(call);
            }
            v2::Message::Cancel(it) => self.cancel(it.id, cancellations),
            v2::Message::Ping(ping) => {
                // Its frame is as long as the ping's, which was not too long.
                let pong = v2::Message::Pong(v2::Pong { id: ping.id });
                let _ = pong.encode(self.max_frame_size, self.outgoing.end());
            }
            v2::Message::Drain | v2::Message::Telemetry(_) | v2::Message::Skippable { .. } => {}
            _ => return Err(Broken::unexpected("response")),
        }
        Ok(())
    }

    fn take_json(
        &mut self,
        frame: &Bytes,
        cancellations: &mut Cancellations<'_>,
    ) -> Result<(), Broken> {
        let message = Message::of_client(frame).map_err(|error| Broken(error.to_string()))?;
        match message {
            Message::Request(request) if request.method == HELLO_METHOD => {
                if self.greeted {
                    // Its answer is long: a flood of them would fill the memory.
                    return Err(Broken("a second hello".into()));
                }
                if request.id == 0 {
                    return Err(Broken::unexpected("hello without an id"));
                }
                self.take_hello(&request);
            }
            Message::Request(request) => {
                let call = self.call(Version::V1, request.into());
                self.enqueue(call);
            }
            Message::Cancellation(it) => self.cancel(it.id, cancellations),
            Message::Unknown { .. } => {}
            _ => return Err(Broken::unexpected("response")),
        }
        Ok(())
    }

    /// What was agreed is in force at once; the answer needs the interpreter.
    fn take_hello(&mut self, request: &Request) {
        self.greeted = true;
        if self.refuses {
            return;
        }
        let id = request.id;
        let waiting = match read_hello(request) {
            Ok((version, hello)) => {
                self.version = version;
                self.client.details = hello.features.error_details;
                self.owner = hello.owner;
                let (features, agent) = (hello.features.within(version), hello.agent);
                Waiting::Hello(Greeting {
                    id,
                    version,
                    features,
                    agent,
                })
            }
            Err(reason) => Waiting::Refusal { id, reason },
        };
        self.waiting.push_back(waiting);
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
        if self.refuses {
            return;
        }
        match &call.target {
            // Its client tells answers to requests without ids by their order.
            Target::Name(name) if call.id != 0 && self.concurrent_names.contains(name) => {
                self.waiting_concurrent.push_back(call);
            }
            _ => self.waiting.push_back(Waiting::Call(call)),
        }
    }

    /// A request that waits is answered at once. A later request may have its id again. 0 names none.
    fn cancel(&mut self, id: u64, cancellations: &mut Cancellations<'_>) {
        if id == 0 {
            return;
        }
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
            self.fail(version, id, None, cancellations.failure);
        }
        cancellations.started.push(id);
    }

    /// The last frame is of version 1, whatever the broken one was.
    fn end_with(&mut self, Broken(reason): Broken) {
        self.ended = true;
        let mut farewell = Vec::new();
        // The smallest maximum has room for it, if the reason is cut.
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        let _ = Response::failure(0, reason).encode(self.max_frame_size, &mut farewell);
        self.farewell = Some(farewell);
    }
}

/// Why a connection ends, in the words for the client.
struct Broken(String);

impl Broken {
    fn unexpected(got: &str) -> Self {
        Self(format!("expected a request, got a {got}"))
    }
}

fn read_hello(request: &Request) -> Result<(Version, Hello), String> {
    let hello: Hello = request
        .body
        .decode()
        .map_err(|error| format!("the hello makes no sense: {error}"))?;
    let offered = &hello.versions;
    let common = offered.iter().filter_map(|number| Version::of(*number));
    match common.max() {
        Some(newest) => Ok((newest, hello)),
        None => Err(format!(
            "this worker speaks versions 1 and 2, not {offered:?}"
        )),
    }
}

/// Whether the body of a frame is one of version 2.
pub(super) fn is_binary(body: &[u8]) -> bool {
    body.first().is_some_and(|kind| *kind < 0x20)
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
