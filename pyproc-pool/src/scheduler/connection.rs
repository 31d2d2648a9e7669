use std::{mem, sync::Arc, task::Waker, time::Instant};

use bytes::Bytes;
use pyproc_protocol::{Cancellation, EncodeError, Features, Peer, Version, v2};

use crate::{
    Error, StartFailure,
    outgoing::{Outgoing, Trace},
    scheduler::batches::{Next, Sending, Wire},
    scheduler::call_table::CallId,
    scheduler::depth::Depth,
    scheduler::methods::{MethodId, MethodTable},
    scheduler::{InOrder, Limits},
    worker::{Calling, Origin},
};

/// The way to one worker.
#[derive(Debug)]
pub(crate) struct Lane {
    state: LaneState,
    /// Calls that the worker has; as many entries of the call table are on it.
    in_flight: usize,
    /// Those of them that run beside others.
    concurrent: usize,
    depth: Depth,
    limits: Limits,
    sending: Sending,
    /// Of a worker that answers in the order of its requests: those that it has not answered.
    pub(crate) in_order: Option<InOrder>,
    /// Of such a worker, whose output is logged: where its output is attributed to calls.
    origin: Option<Arc<Origin>>,
}

#[derive(Debug)]
pub(crate) enum LaneState {
    /// No worker at present; one is on its way.
    Down,
    Up(Link),
    /// No worker any more.
    Gone(Gone),
}

/// Why no worker will come any more.
#[derive(Debug, Clone)]
pub(crate) enum Gone {
    ShutDown,
    /// The last failure was one too many.
    NotStarted(Arc<StartFailure>),
    RuntimeEnded,
}

impl From<Gone> for Error {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::ShutDown => Self::ShutDown,
            Gone::NotStarted(failure) => Self::NoWorkers(failure),
            Gone::RuntimeEnded => Self::RuntimeEnded,
        }
    }
}

/// What was agreed with a worker.
#[derive(Debug)]
pub(crate) struct Link {
    version: Version,
    features: Features,
    methods: MethodTable,
    lists_functions: bool,
    /// It knows no hello, and so answers in the order of its requests.
    is_plain: bool,
    /// It said that it takes no more requests.
    draining: bool,
}

impl Link {
    pub(crate) fn new(peer: &Peer, methods: MethodTable) -> Self {
        Self {
            version: peer.version(),
            features: peer.features(),
            methods,
            lists_functions: !peer.functions().is_empty(),
            is_plain: *peer == Peer::Plain,
            draining: false,
        }
    }
}

impl Lane {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            state: LaneState::Down,
            in_flight: 0,
            concurrent: 0,
            depth: Depth::new(limits.max_in_flight),
            limits,
            sending: Sending::default(),
            in_order: None,
            origin: None,
        }
    }

    pub(crate) fn state(&self) -> &LaneState {
        &self.state
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, LaneState::Up(_))
    }

    pub(crate) fn is_in_order(&self) -> bool {
        self.in_order.is_some()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether it takes calls at all.
    pub(crate) fn is_open(&self) -> bool {
        matches!(&self.state, LaneState::Up(link) if !link.draining)
    }

    /// Whether it takes no more calls, and has answered all that it had.
    pub(crate) fn has_drained(&self) -> bool {
        matches!(&self.state, LaneState::Up(link) if link.draining) && self.in_flight == 0
    }

    /// Whether its worker listed functions when it was greeted; those of version 1 may not.
    pub(crate) fn lists_functions(&self) -> bool {
        matches!(&self.state, LaneState::Up(link) if link.lists_functions)
    }

    /// The functions that its worker listed.
    pub(crate) fn functions(&self) -> &[MethodId] {
        match &self.state {
            LaneState::Up(link) => link.methods.listed(),
            _ => &[],
        }
    }

    /// What is to be compared when a worker is chosen for a call: a plain one waits for other plain ones
    /// only.
    pub(crate) fn load(&self, concurrent: bool) -> (usize, usize) {
        match concurrent {
            true => (self.in_flight, self.in_flight),
            false => (self.plain(), self.in_flight),
        }
    }

    /// Whether a call may be sent. Plain functions run one after another, so that only few of their
    /// calls are sent ahead; the others run at once.
    pub(crate) fn has_room(&self, concurrent: bool) -> bool {
        self.is_open()
            && self.in_flight < self.limits.max_in_flight
            && (concurrent || self.plain() < self.depth.get())
    }

    fn plain(&self) -> usize {
        self.in_flight - self.concurrent
    }

    /// A worker is ready, with this way to it. Returns the payloads that are not needed any more.
    pub(crate) fn open(
        &mut self,
        link: Link,
        mut wire: Wire,
    ) -> impl Iterator<Item = Bytes> + use<> {
        let (is_plain, origin) = (link.is_plain, wire.origin.take());
        let before = self.enter(LaneState::Up(link));
        if is_plain {
            self.in_order = Some(InOrder::default());
            self.origin = origin;
        }
        self.sending = Sending::to(wire);
        if self.origin.is_some() {
            self.depth = Depth::one_by_one(self.limits.max_in_flight);
        }
        before
    }

    /// Changes the state. Returns the payloads that are not needed any more.
    pub(crate) fn enter(&mut self, state: LaneState) -> impl Iterator<Item = Bytes> + use<> {
        self.state = state;
        self.depth = Depth::new(self.limits.max_in_flight);
        let unanswered = self.leave_order().map(InOrder::into_payloads);
        let unsent = mem::take(&mut self.sending).into_payloads();
        unsent.chain(unanswered.into_iter().flatten())
    }

    /// Nothing says any more which call the worker answers next, or which one its output belongs to. Returns the
    /// requests that it has not answered.
    pub(crate) fn leave_order(&mut self) -> Option<InOrder> {
        if let Some(origin) = self.origin.take() {
            origin.forget_calls();
        }
        self.in_order.take()
    }

    /// The worker takes no more requests.
    pub(crate) fn drain(&mut self) {
        if let LaneState::Up(link) = &mut self.state {
            link.draining = true;
        }
    }

    /// Returns the request's memory if it is free for another. The payload is taken, unless the request is refused or
    /// may have to be sent again.
    pub(crate) fn send(
        &mut self,
        id: CallId,
        method: (&str, Option<MethodId>),
        request: &mut Outgoing,
        concurrent: bool,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, EncodeError> {
        let (version, index) = match &self.state {
            LaneState::Up(link) => (link.version, link.methods.index(method.1)),
            _ => (Version::V1, None),
        };
        let Outgoing { envelope, payload } = request;
        if version == Version::V1 {
            envelope.suit_version_1();
        }
        let head = envelope.head(id.to_wire(), method.0, index, now);
        let (max, keep) = (self.limits.max_frame_size, self.in_order.is_some());
        let outbox = self.sending.outbox();
        let buffer = outbox.push(version, &head, payload, keep, max)?;
        if !concurrent && self.plain() == 0 {
            self.depth.on_busy(now);
        }
        self.in_flight += 1;
        self.concurrent += usize::from(concurrent);
        self.sending.on_request();
        if let Some(origin) = &self.origin {
            origin.on_request(Calling {
                function: method.0.into(),
                trace: envelope.trace.map(Trace::above_execution),
                baggage: envelope.headers.get("baggage").cloned(),
            });
        }
        Ok(buffer)
    }

    /// Who is to write what a caller has just sent.
    pub(crate) fn next(&mut self) -> Next {
        self.sending.next(self.in_flight)
    }

    pub(crate) fn cancel(&mut self, id: CallId, reason: &str) -> Option<Waker> {
        let LaneState::Up(link) = &self.state else {
            return None;
        };
        if !link.features.cancel {
            return None;
        }
        let reason = reason.into();
        let id = id.to_wire();
        let cancellation = Cancellation { id, reason };
        let (tail, max) = (self.sending.outbox().tail(), self.limits.max_frame_size);
        // It is a courtesy: a maximum frame size too small for it does no harm.
        match link.version {
            Version::V1 => cancellation.encode(max, tail),
            Version::V2 => v2::Message::Cancel(cancellation).encode(max, tail),
        }
        .ok()?;
        self.sending.wake()
    }

    /// The worker is rid of one call.
    pub(crate) fn on_answer(&mut self, concurrent: bool) {
        if let Some(origin) = &self.origin {
            origin.on_answer();
        }
        self.in_flight -= 1;
        self.concurrent -= usize::from(concurrent);
    }

    /// After all answers of one read, of which so many are of plain functions.
    pub(crate) fn on_answers(&mut self, plain: usize, now: Instant) {
        if plain > 0 {
            self.depth.on_answers(plain as u32, now);
        }
    }

    /// The worker is rid of all calls.
    pub(crate) fn forget_calls(&mut self) {
        self.in_flight = 0;
        self.concurrent = 0;
    }

    /// So many callers have answers, and are woken now.
    pub(crate) fn on_woken(&mut self, callers: usize) {
        self.sending.on_woken(callers, self.in_flight);
    }

    /// See [`Sending::may_wait`].
    pub(crate) fn may_wait(&mut self) -> bool {
        self.sending.may_wait(self.in_flight)
    }

    pub(crate) fn sending(&mut self) -> &mut Sending {
        &mut self.sending
    }
}
