//! A client's socket, the requests that wait, and what is to be sent.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::BytesMut;
use pyproc_protocol::Failure;
use pyproc_protocol::v2::telemetry::encode_frame;
use pyproc_protocol::{AcceptedHello, Features, SessionError, Version, WorkerSession};
use rustix::event::PollFlags;

use super::large_payload::LargePayload;
use super::outgoing::Outgoing;
use super::request::{Call, Channel, ListedFunction, PendingRequest};
use crate::package::Limits;

/// Bytes of a frame of telemetry before its records.
const FRAME_HEAD: usize = 16;

/// A client's socket, which never blocks, and the buffers on both sides of it.
pub(crate) struct Connection {
    pub(crate) socket: Arc<OwnedFd>,
    pub(super) limits: Limits,
    pub(crate) session: WorkerSession,
    pub(super) input: BytesMut,
    pub(super) large: Option<LargePayload>,
    /// At least the bytes of the requests that wait.
    pub(super) backlog: usize,
    /// Takes records to the client, if it asked for them.
    pub(crate) channel: Option<Channel>,
    /// What the answer to the hello listed.
    pub(crate) table: Vec<ListedFunction>,
    /// The functions that are `async def`.
    pub(crate) async_names: Arc<HashSet<String>>,
    /// Requests that have not started, in their order.
    pub(crate) pending: VecDeque<PendingRequest>,
    /// None of `pending` may start: a hello is being answered, or a call without an id runs on the event loop.
    pub(crate) is_blocked: bool,
    /// Calls of `async def` functions that have not started. They need not wait for `pending`.
    pub(crate) pending_async: VecDeque<Call>,
    /// Calls that run on the event loop, and the bytes that they take.
    pub(crate) async_calls: usize,
    pub(crate) async_bytes: usize,
    pub(crate) outgoing: Outgoing,
    /// The last frame, to be sent after all answers.
    closing_frame: Option<Vec<u8>>,
    /// Nothing more will be read: the client finished, or broke the protocol.
    pub(crate) input_ended: bool,
    /// The client is gone, and its running functions are cancelled. The serving thread closes the connection.
    pub(crate) disconnected: bool,
    /// Sending has failed, which neither the serving thread nor the watcher has handled yet.
    pub(crate) send_failed: bool,
    /// It is in the serving thread's run queue.
    pub(crate) scheduled: bool,
    /// The events that the serving thread polls for.
    pub(crate) interest: PollFlags,
    /// It was paused when the serving thread updated it last.
    pub(crate) was_paused: bool,
}

impl Connection {
    pub(crate) fn new(
        socket: OwnedFd,
        limits: Limits,
        max_frame_size: usize,
        async_names: Arc<HashSet<String>>,
    ) -> Self {
        Self {
            socket: Arc::new(socket),
            limits,
            session: WorkerSession::with_deferred_hello(Features::ALL, max_frame_size),
            input: BytesMut::new(),
            large: None,
            backlog: 0,
            channel: None,
            table: Vec::new(),
            async_names,
            pending: VecDeque::new(),
            is_blocked: false,
            pending_async: VecDeque::new(),
            async_calls: 0,
            async_bytes: 0,
            outgoing: Outgoing::default(),
            closing_frame: None,
            input_ended: false,
            disconnected: false,
            send_failed: false,
            scheduled: false,
            interest: PollFlags::empty(),
            was_paused: false,
        }
    }

    // Requests

    /// A hello that is the next request to answer. The requests behind it wait for the answer.
    pub(crate) fn take_hello(&mut self) -> Option<AcceptedHello> {
        if self.is_blocked {
            return None;
        }
        match self.pending.pop_front()? {
            PendingRequest::Hello(greeting) => {
                self.is_blocked = true;
                Some(greeting)
            }
            other => {
                self.pending.push_front(other);
                None
            }
        }
    }

    /// Whether a request can start, and the client reads its answers.
    pub(crate) fn may_run(&self) -> bool {
        let has_next = !self.is_blocked && !self.pending.is_empty();
        let has_any = has_next || !self.pending_async.is_empty();
        has_any && self.outgoing.len() <= self.limits.buffered
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty() || !self.pending_async.is_empty()
    }

    fn has_no_calls(&self) -> bool {
        !self.has_pending() && self.async_calls == 0 && !self.is_blocked
    }

    /// Whether nothing waits, runs, or is to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.has_no_calls() && self.outgoing.is_empty() && self.closing_frame.is_none()
    }

    /// Whether nothing is left to do for this client.
    pub(crate) fn is_finished(&self) -> bool {
        self.input_ended && self.is_idle()
    }

    // Sending

    /// Answers a request with a failure.
    pub(super) fn fail(&mut self, version: Version, id: u64, failure: &Failure) {
        let form = self.session.response_encoder(version);
        // The smallest maximum is 1,024 bytes, which is enough for this.
        let _ = form.encode_failure(id, None, failure, self.outgoing.end());
    }

    /// Sends the answer to the hello. From now on the client understands the features that it agreed to.
    pub(crate) fn send_hello_answer(&mut self, answer: &mut Vec<u8>) {
        self.outgoing.append(answer);
        self.session.on_hello_accepted(self.outgoing.end());
    }

    /// Takes no more requests, and says so to the client.
    pub(crate) fn drain(&mut self) {
        self.session.drain(self.outgoing.end());
    }

    /// Reads no more, since the client broke the protocol, and says why after all answers.
    pub(super) fn end_input(&mut self, error: &SessionError) {
        self.input_ended = true;
        let mut frame = Vec::new();
        self.session.write_error(error, &mut frame);
        self.closing_frame = Some(frame);
    }

    /// Sends as much as the client takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.has_no_calls()
            && let Some(mut frame) = self.closing_frame.take()
        {
            self.outgoing.append(&mut frame);
        }
        self.outgoing.send(&*self.socket)
    }

    /// Sends records, or leaves them in the buffer if the client does not read at this moment. Returns whether they were
    /// taken.
    pub(crate) fn send_records(&mut self, lines: &[u8]) -> bool {
        let buffered = self.outgoing.len();
        if self.disconnected
            || self.send_failed
            || (buffered > 0 && buffered + FRAME_HEAD + lines.len() > self.limits.buffered)
        {
            return false;
        }
        if encode_frame(lines, self.session.max_frame_size(), self.outgoing.end()).is_err() {
            return false;
        }
        // The serving thread closes the connection; the watcher cancels the function that runs for it.
        self.send_failed = self.outgoing.send(&*self.socket).is_err();
        !self.send_failed
    }

    // Polling

    /// Whether so much waits that no more is read.
    pub(crate) fn is_paused(&self) -> bool {
        self.outgoing.len() > self.limits.buffered
            || self.async_bytes > self.limits.running
            || (self.has_pending() && self.backlog > self.limits.buffered)
    }

    /// The events to poll for: space for answers, and more requests unless too much waits already.
    pub(crate) fn wanted_events(&self) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::OUT, !self.outgoing.is_empty());
        events.set(PollFlags::IN, !(self.input_ended || self.is_paused()));
        events
    }
}
