//! The numbers of version 2, in one place.

/// Bytes of the part that all bodies begin with.
pub(super) const HEADER: usize = 12;

/// Kinds from here on are skipped when they are unknown.
pub(super) const FIRST_SKIPPABLE: u8 = 0x10;

/// Kinds end here; a body of version 1 begins with a larger byte.
pub(super) const END_OF_KINDS: u8 = 0x20;

pub(super) mod kind {
    pub(in crate::v2) const REQUEST: u8 = 0x01;
    pub(in crate::v2) const RESPONSE: u8 = 0x02;
    pub(in crate::v2) const ERROR: u8 = 0x03;
    pub(in crate::v2) const CANCEL: u8 = 0x04;
    pub(in crate::v2) const PING: u8 = 0x08;
    pub(in crate::v2) const PONG: u8 = 0x09;
    pub(in crate::v2) const DRAIN: u8 = 0x0A;
}

pub(super) mod flag {
    pub(in crate::v2) const NAME: u8 = 0x01;
    pub(in crate::v2) const TRACE: u8 = 0x02;
    pub(in crate::v2) const DEADLINE: u8 = 0x04;
    pub(in crate::v2) const HEADERS: u8 = 0x08;

    /// Flags that change what follows; the others are remarks.
    pub(in crate::v2) const MUST_UNDERSTAND: u8 = 0x0F;

    /// A remark: the same request may succeed when it is made again.
    pub(in crate::v2) const RETRYABLE: u8 = 0x10;
}
