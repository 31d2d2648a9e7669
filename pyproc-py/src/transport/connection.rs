//! One client's connection: its socket, what it still wants, and what it has not read yet. Nothing
//! here needs the interpreter lock, so that a thread without it may read while a function runs.
//!
//! | module | idea |
//! | --- | --- |
//! | `reading` | what has arrived becomes calls that wait |
//! | `large` | raw payloads that go straight into their object |
//! | `request` | what a client wants |
//!
//! What the bytes mean, and what the client is to know of the protocol, is `WorkerSession`'s of
//! [`pyproc_protocol`].

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::BytesMut;
use pyproc_protocol::v2::Failure;
use pyproc_protocol::v2::telemetry::write_frame;
use pyproc_protocol::{Features, Greeting, Version, WorkerSession};
use rustix::event::PollFlags;

use super::large::Large;
use super::{Call, Client, Listed, Outgoing, Waiting};
use crate::package::Limits;

/// Bytes of a frame of telemetry before its lines.
const FRAME_HEAD: usize = 16;

/// A client's socket, which never blocks, and the buffers on both sides of it.
pub(crate) struct Connection {
    pub(crate) socket: Arc<OwnedFd>,
    pub(super) limits: Limits,
    pub(crate) session: WorkerSession,
    pub(super) input: BytesMut,
    /// A raw payload that has begun to come.
    pub(super) large: Option<Large>,
    pub(super) backlog: usize,
    pub(crate) client: Client,
    /// What the hello listed.
    pub(crate) table: Vec<Listed>,
    /// The functions that are `async def`.
    pub(crate) concurrent_names: Arc<HashSet<String>>,
    /// Requests that have not started.
    pub(crate) waiting: VecDeque<Waiting>,
    /// Those stay where they are: a hello is being answered, or a call without an id runs on the event loop.
    pub(crate) held: bool,
    /// Requests of `async def` functions that have not started; they need not wait for the others.
    pub(crate) waiting_concurrent: VecDeque<Call>,
    /// Requests that run on the event loop, and the bytes that they take.
    pub(crate) concurrent: usize,
    pub(crate) concurrent_bytes: usize,
    pub(crate) outgoing: Outgoing,
    /// The last frame, to be sent after all answers.
    pub(super) farewell: Option<Vec<u8>>,
    /// Nothing more will be read: the client finished, or broke the protocol.
    pub(crate) ended: bool,
    /// The client is gone altogether, as its functions have been told.
    pub(crate) gone: bool,
    /// Sending has failed, which nobody else has been told.
    pub(crate) lost: bool,
    /// It has its place among those whose requests are to be run.
    pub(crate) scheduled: bool,
    pub(crate) interest: PollFlags,
    /// It was paused when the serving thread looked last.
    pub(crate) reads_less: bool,
}

impl Connection {
    pub(crate) fn new(
        socket: OwnedFd,
        limits: Limits,
        max_frame_size: usize,
        concurrent_names: Arc<HashSet<String>>,
    ) -> Self {
        Self {
            socket: Arc::new(socket),
            limits,
            session: WorkerSession::with_late_introduction(Features::ALL, max_frame_size),
            input: BytesMut::new(),
            large: None,
            backlog: 0,
            client: Client::default(),
            table: Vec::new(),
            concurrent_names,
            waiting: VecDeque::new(),
            held: false,
            waiting_concurrent: VecDeque::new(),
            concurrent: 0,
            concurrent_bytes: 0,
            outgoing: Outgoing::default(),
            farewell: None,
            ended: false,
            gone: false,
            lost: false,
            scheduled: false,
            interest: PollFlags::empty(),
            reads_less: false,
        }
    }

    /// A hello that is the next thing to answer. What came behind it waits for that.
    pub(crate) fn take_greeting(&mut self) -> Option<Greeting> {
        if self.held {
            return None;
        }
        match self.waiting.pop_front()? {
            Waiting::Hello(greeting) => {
                self.held = true;
                Some(greeting)
            }
            other => {
                self.waiting.push_front(other);
                None
            }
        }
    }

    /// Answers a request with a failure.
    pub(super) fn fail(&mut self, version: Version, id: u64, failure: &Failure) {
        let form = self.session.answer_form(version);
        // The smallest maximum is 1,024 bytes: a note fits.
        let _ = form.write_failure(id, None, failure, self.outgoing.end());
    }

    /// Sends the answer to the hello. From now on the client understands what it agreed to.
    pub(crate) fn introduce(&mut self, answer: &mut Vec<u8>) {
        self.outgoing.append(answer);
        self.session.on_introduced(self.outgoing.end());
    }

    /// Takes no more requests, and says so.
    pub(crate) fn drain(&mut self) {
        self.session.drain(self.outgoing.end());
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

    /// Sends lines of telemetry at once or lets them wait; says whether it does either.
    pub(crate) fn report(&mut self, lines: &[u8]) -> bool {
        let waiting = self.outgoing.len();
        if self.gone
            || self.lost
            || (waiting > 0 && waiting + FRAME_HEAD + lines.len() > self.limits.buffered)
        {
            return false;
        }
        if write_frame(lines, self.session.max_frame_size(), self.outgoing.end()).is_err() {
            return false;
        }
        // The serving thread closes it; the watcher tells the function that runs meanwhile.
        self.lost = self.outgoing.send(&*self.socket).is_err();
        !self.lost
    }

    /// Whether a request can start, and the client reads its answers.
    pub(crate) fn may_run(&self) -> bool {
        let is_next = !self.held && !self.waiting.is_empty();
        let is_any = is_next || !self.waiting_concurrent.is_empty();
        is_any && self.outgoing.len() <= self.limits.buffered
    }

    /// Whether there's nothing left to do for this client.
    pub(crate) fn is_finished(&self) -> bool {
        self.ended && self.is_idle()
    }

    /// Whether nothing waits, runs, or is to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.has_no_calls() && self.outgoing.is_empty() && self.farewell.is_none()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.waiting_concurrent.is_empty()
    }

    fn has_no_calls(&self) -> bool {
        !self.is_waiting() && self.concurrent == 0 && !self.held
    }

    /// Whether so much waits that no more is read.
    pub(crate) fn is_paused(&self) -> bool {
        self.outgoing.len() > self.limits.buffered
            || self.concurrent_bytes > self.limits.running
            || (self.is_waiting() && self.backlog > self.limits.buffered)
    }

    /// What to wait for: room for answers, and more requests unless too much waits already.
    pub(crate) fn wanted_events(&self) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::OUT, !self.outgoing.is_empty());
        events.set(PollFlags::IN, !(self.ended || self.is_paused()));
        events
    }
}
