//! Ids of calls and connections. An id is a place in a table and a use count, so a stale id never matches what took the
//! place later.

use pyproc_protocol::MAX_ID;

/// The id of a call, which is also its id on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(u64);

/// The id of a connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    place: u32,
    uses: u32,
}

/// With 20 bits for the place, the remaining 33 of an id count its uses.
pub(super) const PLACE_BITS: u32 = 20;
pub(super) const LAST_USE: u64 = MAX_ID >> PLACE_BITS;

impl CallId {
    pub(super) fn new(place: u32, uses: u64) -> Self {
        Self((uses << PLACE_BITS) | u64::from(place))
    }

    pub(crate) fn from_wire(id: u64) -> Self {
        Self(id)
    }

    pub(crate) fn to_wire(self) -> u64 {
        self.0
    }

    pub(super) fn place(self) -> usize {
        (self.0 & ((1 << PLACE_BITS) - 1)) as usize
    }

    pub(super) fn uses(self) -> u64 {
        self.0 >> PLACE_BITS
    }
}

impl ConnectionId {
    pub(super) fn new(place: u32, uses: u32) -> Self {
        Self { place, uses }
    }

    pub(super) fn uses(self) -> u32 {
        self.uses
    }

    /// Places are few and are used again, so a table can have one entry for each.
    pub(crate) fn place(self) -> usize {
        self.place as usize
    }
}
