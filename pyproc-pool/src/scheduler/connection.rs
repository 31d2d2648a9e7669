use std::{mem, time::Instant};

use pyproc_protocol::{Cancellation, EncodeError, Features, Peer, Version};

use super::{
    Limits,
    actions::{Actions, Attribution},
    batches::Batches,
    depth::Depth,
    ids::{CallId, ConnectionId},
    in_order::InOrder,
    methods::{MethodId, MethodTable},
};
use crate::outgoing::Outgoing;

/// The connection to one worker: what the handshake agreed on, and the calls in flight.
#[derive(Debug)]
pub(super) struct Connection {
    /// The slot whose calls it gets, or got before another worker took the slot.
    pub(super) slot: usize,
    phase: Phase,
    pub(super) in_flight: usize,
    /// Calls in flight of concurrent functions.
    concurrent: usize,
    depth: Depth,
    pub(super) batches: Batches,
    /// The unanswered calls of a legacy worker, which answers in the order of its requests.
    pub(super) in_order: Option<InOrder>,
    /// The output of this legacy worker is attributed to its calls.
    attributes: bool,
    version: Version,
    features: Features,
    pub(super) methods: MethodTable,
    /// The worker listed functions in its hello; one of version 1 may not.
    pub(super) lists_functions: bool,
    max_in_flight: usize,
    max_frame_size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The worker gets no further calls, and answers those that it has.
    Draining,
    /// Nothing is sent or received.
    Closed,
}

/// What the scheduler needs to know of a connection's transport and driver.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionConfig {
    /// The largest frame that it sends, in bytes.
    pub(crate) max_frame_size: usize,
    /// The connection's task polls for answers instead of sleeping, and has to be woken when one is expected.
    pub(crate) spins: bool,
    /// The output of a legacy worker is attributed to its calls.
    pub(crate) attributes: bool,
}

/// All connections that are open or have calls.
#[derive(Debug, Default)]
pub(super) struct Connections(Vec<Place>);

#[derive(Debug, Default)]
struct Place {
    uses: u32,
    connection: Option<Connection>,
}

impl Connections {
    pub(super) fn insert(
        &mut self,
        connect: impl FnOnce(ConnectionId) -> Connection,
    ) -> ConnectionId {
        let free = self.0.iter().position(|it| it.connection.is_none());
        let place = free.unwrap_or_else(|| {
            self.0.push(Place::default());
            self.0.len() - 1
        });
        let entry = &mut self.0[place];
        entry.uses = entry.uses.wrapping_add(1);
        let id = ConnectionId::new(place as u32, entry.uses);
        entry.connection = Some(connect(id));
        id
    }

    #[inline]
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        let place = self.0.get(id.place())?;
        place
            .connection
            .as_ref()
            .filter(|_| place.uses == id.uses())
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = self.0.get_mut(id.place())?;
        let connection = place.connection.as_mut();
        connection.filter(|_| place.uses == id.uses())
    }

    /// Removes a connection if it is closed and has no calls. Returns its slot.
    pub(super) fn remove_if_over(&mut self, id: ConnectionId) -> Option<usize> {
        let is_over = |it: &&Connection| it.is_closed() && it.in_flight == 0;
        let slot = self.get(id).filter(is_over)?.slot;
        self.0[id.place()].connection = None;
        Some(slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.0.iter().filter_map(|it| it.connection.as_ref())
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        let places = (0..).zip(&self.0);
        let taken = places.filter(|(_, it)| it.connection.is_some());
        taken
            .map(|(place, it)| ConnectionId::new(place, it.uses))
            .collect()
    }
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        slot: usize,
        peer: &Peer,
        methods: MethodTable,
        config: ConnectionConfig,
        limits: Limits,
    ) -> Self {
        let is_plain = *peer == Peer::Legacy;
        let attributes = is_plain && config.attributes;
        let depth = match attributes {
            true => Depth::one_by_one(limits.max_in_flight),
            false => Depth::new(limits.max_in_flight),
        };
        Self {
            slot,
            phase: Phase::Open,
            in_flight: 0,
            concurrent: 0,
            depth,
            batches: Batches::new(id, config.spins),
            in_order: is_plain.then(InOrder::default),
            attributes,
            version: peer.version(),
            features: peer.features(),
            methods,
            lists_functions: !peer.functions().is_empty(),
            max_in_flight: limits.max_in_flight,
            max_frame_size: limits.max_frame_size.min(config.max_frame_size),
        }
    }

    /// Whether it accepts calls.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether it accepts no calls, and has answered all that it had.
    pub(super) fn has_drained(&self) -> bool {
        self.phase == Phase::Draining && self.in_flight == 0
    }

    /// The worker accepts no more requests.
    pub(super) fn drain(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
        }
    }

    /// From now on nothing is sent or received. Calls in flight stay.
    pub(super) fn close(&mut self, id: ConnectionId, actions: &mut Actions) {
        self.phase = Phase::Closed;
        if let Some(unanswered) = self.leave_order(id, actions) {
            actions.discard.extend(unanswered.into_payloads());
        }
        let unsent = mem::replace(&mut self.batches, Batches::new(id, false));
        actions.discard.extend(unsent.into_payloads());
    }

    /// From now on it is unknown which call the worker answers next, and which call its output belongs to. Returns the
    /// unanswered requests.
    pub(super) fn leave_order(
        &mut self,
        id: ConnectionId,
        actions: &mut Actions,
    ) -> Option<InOrder> {
        if mem::take(&mut self.attributes) {
            actions.attribute.push((id, Attribution::Forgotten));
        }
        self.in_order.take()
    }

    /// The load by which a worker is chosen for a call: a plain call waits only for other plain calls.
    pub(super) fn load(&self, concurrent: bool) -> (usize, usize) {
        match concurrent {
            true => (self.in_flight, self.in_flight),
            false => (self.plain(), self.in_flight),
        }
    }

    /// Whether a call may be dispatched to the worker. Plain functions run one after another, so only a few of their
    /// calls are pipelined; concurrent functions start at once.
    pub(super) fn has_room(&self, concurrent: bool) -> bool {
        self.is_open()
            && self.in_flight < self.max_in_flight
            && (concurrent || self.plain() < self.depth.get())
    }

    fn plain(&self) -> usize {
        self.in_flight - self.concurrent
    }

    /// Adds a call's frame to the batch, and counts the call as in flight. Returns the request's buffer if it is free
    /// for another. The payload is taken, unless the request is rejected or may have to be sent again.
    pub(super) fn send(
        &mut self,
        id: CallId,
        method: (&str, Option<MethodId>),
        request: &mut Outgoing,
        concurrent: bool,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, EncodeError> {
        let Outgoing { envelope, payload } = request;
        if self.version == Version::V1 {
            envelope.suit_version_1();
        }
        let index = self.methods.index(method.1);
        let head = envelope.head(id.to_wire(), method.0, index, now);
        let (max, keep) = (self.max_frame_size, self.in_order.is_some());
        let buffer = self.batches.push(self.version, &head, payload, keep, max)?;
        if !concurrent && self.plain() == 0 {
            self.depth.on_busy(now);
        }
        self.in_flight += 1;
        self.concurrent += usize::from(concurrent);
        Ok(buffer)
    }

    /// Whether the worker's output is attributed to its calls.
    pub(super) fn attributes(&self) -> bool {
        self.attributes
    }

    /// Adds a cancellation to the frames, if the worker understands it. Returns whether it did.
    pub(super) fn cancel(&mut self, id: CallId, reason: &str) -> bool {
        if self.phase == Phase::Closed || !self.features.cancel {
            return false;
        }
        let reason = reason.into();
        let id = id.to_wire();
        let cancellation = Cancellation { id, reason };
        let (tail, max) = (self.batches.control(), self.max_frame_size);
        // A cancellation that exceeds the maximum frame size is left out: the worker then finishes the call.
        cancellation.encode(self.version, max, tail).is_ok()
    }

    /// The worker has answered a call.
    pub(super) fn on_answer(&mut self, concurrent: bool) {
        self.in_flight -= 1;
        self.concurrent -= usize::from(concurrent);
    }

    /// All answers of one read have been handled; `plain` of them are of plain functions.
    pub(super) fn on_answers(&mut self, plain: usize, now: Instant) {
        if plain > 0 {
            self.depth.on_answers(plain as u32, now);
        }
    }

    /// No call is in flight from now on.
    pub(super) fn forget_calls(&mut self) {
        self.in_flight = 0;
        self.concurrent = 0;
    }
}
