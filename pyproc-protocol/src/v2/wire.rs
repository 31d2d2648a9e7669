//! The numbers of version 2, in one place.

/// Bytes of the part that all bodies begin with.
pub(crate) const HEADER: usize = 12;

/// Kinds from here on are skipped when they are unknown.
pub(crate) const FIRST_SKIPPABLE: u8 = 0x10;

/// Kinds end here; a body of version 1 begins with a larger byte.
pub(crate) const END_OF_KINDS: u8 = 0x20;

/// The number of the codec that all else than a payload of a request or a response has.
pub(crate) const JSON: u8 = 0;

pub(crate) mod kind {
    pub(crate) const REQUEST: u8 = 0x01;
    pub(crate) const RESPONSE: u8 = 0x02;
    pub(crate) const ERROR: u8 = 0x03;
    pub(crate) const CANCEL: u8 = 0x04;
    pub(crate) const PING: u8 = 0x08;
    pub(crate) const PONG: u8 = 0x09;
    pub(crate) const DRAIN: u8 = 0x0A;
    pub(crate) const TELEMETRY: u8 = 0x10;
}

pub(crate) mod flag {
    pub(crate) const NAME: u8 = 0x01;
    pub(crate) const TRACE: u8 = 0x02;
    pub(crate) const DEADLINE: u8 = 0x04;
    pub(crate) const HEADERS: u8 = 0x08;

    /// Of an answer: it says when the function ran.
    pub(crate) const TIMES: u8 = 0x01;

    /// Flags that change what follows; the others are remarks.
    pub(crate) const MUST_UNDERSTAND: u8 = 0x0F;

    /// A remark: the same request may succeed when it is made again.
    pub(crate) const RETRYABLE: u8 = 0x10;

    /// A remark on a request: the answer shall say when the function ran.
    pub(crate) const WANTS_TIMES: u8 = 0x10;
}
