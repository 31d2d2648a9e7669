//! One client's connection: its socket, what it still wants, and what it has not read yet. Nothing here needs the interpreter
//! lock, so that a thread without it may read while a function runs.

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyproc_protocol::{
    ERROR_TRACEBACK, ERROR_TYPE, Features, FrameDecoder, HELLO_METHOD, Hello, LENGTH_PREFIX,
    Message, Request, Response, Version,
    v2::{self, Answer, Codec, Failure, Method, Times},
};
use rustix::event::PollFlags;

use crate::ffi::{self, UnfinishedBytes};
use crate::functions::FunctionId;
use crate::outgoing::Outgoing;

const READ_SIZE: usize = 128 * 1024;

/// Bytes of requests not finished, and of answers not read, beyond which reading pauses.
const BUFFER_LIMIT: usize = 1024 * 1024;

/// Raw payloads from here on are read straight into the object that the function gets.
const LARGE: usize = 64 * 1024;

/// Bytes before the payload of the longest request that is looked at before the frame is complete.
const HEAD: usize = 4 * 1024;

/// Characters; as JSON, each takes at most six bytes of the smallest maximum of 1,024.
const LONGEST_REASON: usize = 160;

const TOO_LONG: &str = "an error too long for a frame";

/// A client's socket, which never blocks, and the buffers on both sides of it.
pub(crate) struct Connection {
    pub(crate) socket: Arc<OwnedFd>,
    max_frame_size: usize,
    decoder: FrameDecoder,
    input: BytesMut,
    /// A raw payload that has begun to come.
    large: Option<Large>,
    backlog: usize,
    /// The newest version in force.
    version: Version,
    /// The client has said hello.
    greeted: bool,
    /// The feature error-details is in force.
    pub(crate) details: bool,
    /// The worker exits with this connection.
    pub(crate) owner: bool,
    /// What the hello listed.
    pub(crate) table: Vec<Listed>,
    /// The functions that are `async def`.
    pub(crate) concurrent_names: Arc<HashSet<String>>,
    /// Requests that have not started.
    pub(crate) waiting: VecDeque<Waiting>,
    /// Requests of `async def` functions that have not started; they need not wait for the others.
    pub(crate) waiting_concurrent: VecDeque<Call>,
    /// Requests that run on the event loop, and bytes of theirs.
    pub(crate) concurrent: usize,
    pub(crate) concurrent_bytes: usize,
    pub(crate) outgoing: Outgoing,
    /// The last frame, to be sent after all answers.
    farewell: Option<Vec<u8>>,
    /// Nothing more will be read: the client finished, or broke the protocol.
    pub(crate) ended: bool,
    /// The client is gone altogether.
    pub(crate) gone: bool,
    /// It has its place among those whose requests are to be run.
    pub(crate) scheduled: bool,
    pub(crate) interest: PollFlags,
    /// It was paused when the serving thread looked last.
    pub(crate) reads_less: bool,
}

/// What clients no longer want.
pub(crate) struct Cancellations<'a> {
    /// The answer to requests that have not started.
    pub(crate) failure: &'a Failure,
    /// Requests that do not wait: they run, or have been answered.
    pub(crate) started: Vec<u64>,
}

/// What is to be done for a client, in its turn.
pub(crate) enum Waiting {
    Call(Call),
    Hello(Greeting),
    /// The hello made no sense.
    Refusal {
        id: u64,
        reason: String,
    },
}

/// A client's hello, as far as its answer depends on it.
pub(crate) struct Greeting {
    pub(crate) id: u64,
    /// The newest that both speak.
    pub(crate) version: Version,
    pub(crate) features: Features,
    pub(crate) agent: String,
}

/// A request.
pub(crate) struct Call {
    pub(crate) id: u64,
    /// The version to answer in.
    pub(crate) version: Version,
    pub(crate) target: Target,
    pub(crate) codec: Codec,
    pub(crate) wants_times: bool,
    pub(crate) body: CallBody,
}

pub(crate) enum Target {
    Function(FunctionId),
    Name(String),
    /// An index that is not in the table.
    Index(u16),
}

pub(crate) enum CallBody {
    Frame(Bytes),
    Object(Py<PyBytes>),
}

/// A function that the hello listed.
pub(crate) struct Listed {
    pub(crate) id: FunctionId,
    /// Its name, if it is `async def`.
    pub(crate) concurrent: Option<String>,
}

struct Large {
    call: Call,
    bytes: UnfinishedBytes,
}

impl CallBody {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Frame(bytes) => bytes.len(),
            Self::Object(_) => LARGE, // at least
        }
    }
}

impl Waiting {
    fn id(&self) -> u64 {
        match self {
            Self::Call(call) => call.id,
            Self::Hello(greeting) => greeting.id,
            Self::Refusal { id, .. } => *id,
        }
    }
}

impl Connection {
    pub(crate) fn new(
        socket: OwnedFd,
        max_frame_size: usize,
        concurrent_names: Arc<HashSet<String>>,
    ) -> Self {
        Self {
            socket: Arc::new(socket),
            max_frame_size,
            decoder: FrameDecoder::new(max_frame_size),
            input: BytesMut::new(),
            large: None,
            backlog: 0,
            version: Version::V1,
            greeted: false,
            details: false,
            owner: false,
            table: Vec::new(),
            concurrent_names,
            waiting: VecDeque::new(),
            waiting_concurrent: VecDeque::new(),
            concurrent: 0,
            concurrent_bytes: 0,
            outgoing: Outgoing::default(),
            farewell: None,
            ended: false,
            gone: false,
            scheduled: false,
            interest: PollFlags::empty(),
            reads_less: false,
        }
    }

    /// Takes what has arrived. With the interpreter lock, a large payload is given its object at once.
    pub(crate) fn receive(
        &mut self,
        py: Option<Python<'_>>,
        cancellations: &mut Cancellations<'_>,
    ) -> io::Result<()> {
        if self.large.is_some() {
            return self.receive_large();
        }
        self.input
            .reserve(READ_SIZE.saturating_sub(self.input.len()).max(1));
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
            .map_err(|error| Broken::of(&error))?
        {
            if self.version == Version::V2 && is_binary(&frame) {
                self.take_binary(&frame, cancellations)?;
            } else {
                self.take_json(&frame, cancellations)?;
            }
        }
        Ok(())
    }

    fn take_binary(
        &mut self,
        frame: &Bytes,
        cancellations: &mut Cancellations<'_>,
    ) -> Result<(), Broken> {
        let message = v2::Message::decode(frame).map_err(|error| Broken::of(&error))?;
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
            v2::Message::Drain | v2::Message::Skippable { .. } => {}
            _ => return Err(Broken::unexpected("response")),
        }
        Ok(())
    }

    fn take_json(
        &mut self,
        frame: &Bytes,
        cancellations: &mut Cancellations<'_>,
    ) -> Result<(), Broken> {
        let message = Message::decode(frame).map_err(|error| Broken::of(&error))?;
        match message {
            Message::Request(request) if request.method == HELLO_METHOD => {
                if self.greeted {
                    // Its answer is long: a flood of them would fill the memory.
                    return Err(Broken::unexpected("second hello"));
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
        let id = request.id;
        let waiting = match read_hello(request) {
            Ok((version, hello)) => {
                self.version = version;
                self.details = hello.features.error_details;
                self.owner = hello.owner;
                let (features, agent) = (hello.features, hello.agent);
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

    fn call(&self, version: Version, request: v2::Request) -> Call {
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
            body: CallBody::Frame(request.body.bytes),
        }
    }

    /// A hello that is the next thing to answer.
    pub(crate) fn take_greeting(&mut self) -> Option<Greeting> {
        match self.waiting.pop_front()? {
            Waiting::Hello(greeting) => Some(greeting),
            other => {
                self.waiting.push_front(other);
                None
            }
        }
    }

    fn enqueue(&mut self, call: Call) {
        match &call.target {
            Target::Name(name) if self.concurrent_names.contains(name) => {
                self.waiting_concurrent.push_back(call);
            }
            _ => self.waiting.push_back(Waiting::Call(call)),
        }
    }

    /// If a request with a large raw payload has begun to come, what there is of it goes where the rest will.
    fn begin_large(&mut self, py: Python<'_>) {
        let Some((prefix, body)) = self.input.split_first_chunk::<LENGTH_PREFIX>() else {
            return;
        };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len < LARGE || self.version == Version::V1 || !is_binary(body) {
            return;
        }
        let head = Bytes::copy_from_slice(&body[..body.len().min(HEAD)]);
        // A payload is all the rest of its frame, so a frame that is cut off within it says all but its end.
        let Ok(v2::Message::Request(request)) = v2::Message::decode(&head) else {
            return;
        };
        let before_payload = head.len() - request.body.bytes.len();
        if request.body.codec != Codec::Raw || len - before_payload < LARGE {
            return;
        }
        // Without memory it will be told when the frame is complete.
        if let Ok(mut bytes) = UnfinishedBytes::new(py, len - before_payload) {
            bytes.append(&body[before_payload..]);
            self.input.clear();
            let call = self.call(Version::V2, request);
            self.large = Some(Large { call, bytes });
        }
    }

    fn receive_large(&mut self) -> io::Result<()> {
        let Some(large) = &mut self.large else {
            return Ok(());
        };
        match arrived(large.bytes.receive(&*self.socket))? {
            None => return Ok(()),
            Some(0) => self.ended = true,
            Some(count) => self.backlog += count,
        }
        if !large.bytes.is_complete() {
            return Ok(());
        }
        if let Some(Large { mut call, bytes }) = self.large.take()
            && let Ok(object) = bytes.finish()
        {
            call.body = CallBody::Object(object);
            self.enqueue(call);
        }
        Ok(())
    }

    /// A request that waits is answered at once. A later request may have its id again.
    fn cancel(&mut self, id: u64, cancellations: &mut Cancellations<'_>) {
        let concurrent = self
            .waiting_concurrent
            .iter()
            .position(|call| call.id == id);
        if let Some(call) = concurrent.and_then(|position| self.waiting_concurrent.remove(position))
        {
            return self.fail(call.version, id, None, cancellations.failure);
        }
        let position = self.waiting.iter().position(|waiting| waiting.id() == id);
        match position.and_then(|position| self.waiting.remove(position)) {
            Some(Waiting::Call(call)) => self.fail(call.version, id, None, cancellations.failure),
            _ => cancellations.started.push(id),
        }
    }

    pub(crate) fn fail(
        &mut self,
        version: Version,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
    ) {
        let form = Form {
            version,
            details: self.details,
            max_frame_size: self.max_frame_size,
        };
        form.write_failure(id, times, failure, self.outgoing.end());
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

    /// Says that no more requests are taken, to who understands it.
    pub(crate) fn say_drain(&mut self) {
        if self.version == Version::V2 {
            // Twelve bytes: the maximum is far above.
            let _ = v2::Message::Drain.encode(self.max_frame_size, self.outgoing.end());
        }
    }

    /// Sends as much as the client takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.has_no_calls()
            && let Some(mut farewell) = self.farewell.take()
        {
            self.outgoing.append(&mut farewell);
        }
        self.outgoing.send(&*self.socket)
    }

    /// Whether a request waits, and the client reads its answers.
    pub(crate) fn may_run(&self) -> bool {
        self.is_waiting() && self.outgoing.len() <= BUFFER_LIMIT
    }

    /// Whether there's nothing left to do for this client.
    pub(crate) fn is_finished(&self) -> bool {
        self.ended && self.is_idle()
    }

    /// Whether nothing waits, runs, or is to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.has_no_calls() && self.outgoing.is_empty() && self.farewell.is_none()
    }

    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.waiting_concurrent.is_empty()
    }

    fn has_no_calls(&self) -> bool {
        !self.is_waiting() && self.concurrent == 0
    }

    /// Whether so much waits that no more is read.
    pub(crate) fn is_paused(&self) -> bool {
        self.outgoing.len() > BUFFER_LIMIT
            || self.concurrent_bytes > BUFFER_LIMIT
            || (self.is_waiting() && self.backlog > BUFFER_LIMIT)
    }

    /// What to wait for: room for answers, and more requests unless too much waits already.
    pub(crate) fn wanted_events(&self, draining: bool) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::OUT, !self.outgoing.is_empty());
        events.set(PollFlags::IN, !(self.ended || draining || self.is_paused()));
        events
    }
}

/// How a client is answered.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) version: Version,
    pub(crate) details: bool,
    pub(crate) max_frame_size: usize,
}

impl Form {
    /// Appends a failure, or a note in its place if it is too long.
    pub(crate) fn write_failure(
        &self,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) {
        if self.try_failure(id, times, failure, out).is_err() {
            let note = Failure {
                message: TOO_LONG.into(),
                ..Failure::default()
            };
            // The smallest maximum is 1,024 bytes.
            let _ = self.try_failure(id, times, &note, out);
        }
    }

    fn try_failure(
        &self,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), pyproc_protocol::EncodeError> {
        if self.version == Version::V2 {
            let answer = Answer {
                id,
                times,
                result: Err(failure.clone()),
            };
            return answer.encode(self.max_frame_size, out);
        }
        let mut response = Response::failure(id, &failure.message);
        if self.details && !failure.type_name.is_empty() {
            let details = [
                (ERROR_TYPE, &failure.type_name),
                (ERROR_TRACEBACK, &failure.traceback),
            ];
            response.headers = details
                .map(|(name, text)| (name.into(), text.clone()))
                .into();
        }
        response.encode(self.max_frame_size, out)
    }
}

/// Why a connection ends, in the words for the client.
struct Broken(String);

impl Broken {
    fn of(error: &dyn Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self(reason)
    }

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
    if !offered.contains(&Version::V1.number()) {
        return Err(format!(
            "this worker speaks versions 1 and 2, not {offered:?}"
        ));
    }
    let newest = offered
        .iter()
        .filter_map(|number| Version::of(*number))
        .max();
    Ok((newest.unwrap_or(Version::V1), hello))
}

/// Whether the body of a frame is one of version 2.
fn is_binary(body: &[u8]) -> bool {
    body.first().is_some_and(|kind| *kind < 0x20)
}

/// `None` if nothing has.
fn arrived(received: io::Result<usize>) -> io::Result<Option<usize>> {
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
