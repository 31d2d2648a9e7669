//! The numbers of version 2.

/// Size in bytes of the header, with which every body begins.
pub(crate) const HEADER: usize = 12;

/// The first of the kinds that a receiver skips if it does not know them.
pub(crate) const FIRST_SKIPPABLE: u8 = 0x10;

/// End of the range of kinds; a body of version 1 begins with a larger byte.
pub(crate) const END_OF_KINDS: u8 = 0x20;

/// The codec of JSON, and of all messages without a payload.
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

    /// On a response or an error: the times follow.
    pub(crate) const TIMES: u8 = 0x01;

    /// The flags that change what follows. The others are remarks.
    pub(crate) const MUST_UNDERSTAND: u8 = 0x0F;

    /// Remark on an error: the same request may succeed if it is sent again.
    pub(crate) const RETRYABLE: u8 = 0x10;

    /// Remark on a request: asks for the times in the response.
    pub(crate) const WANTS_TIMES: u8 = 0x10;
}
