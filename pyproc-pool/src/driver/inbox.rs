use std::{io, time::Instant};

use bytes::{Bytes, BytesMut};
use pyproc_protocol::{ClientEvent, ClientSession, Peer, v2::Response};

use super::Closed;
use crate::{ProtocolViolation, clock::Clock, transport::ReadHalf};

/// What has arrived from a worker and is not delivered yet.
#[derive(Debug)]
pub(crate) struct Inbox {
    session: ClientSession,
    pub(crate) input: BytesMut,
    pub(crate) answers: Vec<Response>,
    /// Frames of records that the worker reports beside answers.
    pub(crate) records: Vec<Bytes>,
    /// Number of such frames that exceeded the limit and were skipped.
    pub(crate) too_long: u64,
    pub(crate) clock: Clock,
    pub(crate) arrived: Instant,
    drain: Drain,
    /// A violation of the protocol, after all that is in `answers`.
    violation: Option<ProtocolViolation>,
    /// The buffer of [`try_read`](Self::try_read).
    scratch: Vec<u8>,
}

/// Whether the worker drains, and whether the scheduler knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    Unknown,
    Known,
}

/// The least room for one read, in bytes.
const READ_ROOM: usize = 16 * 1024;
const READ_BUFFER: usize = 64 * 1024;

impl Inbox {
    pub(crate) fn new(session: ClientSession, input: BytesMut, clock: Clock) -> Self {
        let mut inbox = Self {
            session,
            input,
            answers: Vec::new(),
            records: Vec::new(),
            too_long: 0,
            clock,
            arrived: clock.now(),
            drain: Drain::No,
            violation: None,
            scratch: Vec::new(),
        };
        // The end of the handshake may have arrived together with more.
        inbox.parse();
        inbox
    }

    pub(crate) fn peer(&self) -> &Peer {
        // A connection begins after the handshake.
        self.session.peer().unwrap_or(&Peer::Legacy)
    }

    /// Whether nothing is to be delivered.
    pub(crate) fn is_empty(&self) -> bool {
        self.answers.is_empty()
            && !self.has_records()
            && self.violation.is_none()
            && self.drain != Drain::Unknown
    }

    /// The read buffer, with room.
    pub(crate) fn with_room(&mut self) -> &mut BytesMut {
        if self.input.capacity() - self.input.len() < READ_ROOM {
            self.input.reserve(READ_BUFFER);
        }
        &mut self.input
    }

    /// Decodes what has been read.
    pub(crate) fn parse(&mut self) {
        self.arrived = self.clock.now();
        loop {
            match self.session.receive(&mut self.input) {
                Ok(Some(ClientEvent::Response(answer))) => self.answers.push(answer),
                Ok(Some(ClientEvent::Telemetry(frame))) => self.records.push(frame),
                Ok(Some(ClientEvent::TooLong { .. })) => self.too_long += 1,
                Ok(Some(ClientEvent::Drain)) if self.drain == Drain::No => {
                    self.drain = Drain::Unknown
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => {
                    self.violation = Some(error.into());
                    return;
                }
            }
        }
    }

    /// Whether the worker reported records, including those that were skipped.
    pub(crate) fn has_records(&self) -> bool {
        !self.records.is_empty() || self.too_long > 0
    }

    /// Whether the worker drains.
    pub(crate) fn has_drain(&self) -> bool {
        self.drain != Drain::No
    }

    /// Whether the worker drains and the scheduler does not know yet. Returns `true` once.
    pub(crate) fn take_drain(&mut self) -> bool {
        let is_news = self.drain == Drain::Unknown;
        if is_news {
            self.drain = Drain::Known;
        }
        is_news
    }

    /// The violation of the protocol, if any. Deliver all that came before it first.
    pub(crate) fn take_violation(&mut self) -> Option<ProtocolViolation> {
        self.violation.take()
    }

    /// Reads without the runtime, which learns of new data only at its next turn. Returns whether anything had arrived.
    pub(crate) fn try_read(&mut self, read: &ReadHalf) -> Result<bool, Closed> {
        if self.scratch.is_empty() {
            self.scratch = vec![0; READ_BUFFER];
        }
        match read.try_read(&mut self.scratch) {
            Ok(0) => Err(Closed::ByPeer),
            Ok(n) => {
                self.input.extend_from_slice(&self.scratch[..n]);
                self.parse();
                Ok(true)
            }
            Err(error) if is_transient(&error) => Ok(false),
            Err(error) => Err(Closed::Failed(error)),
        }
    }
}

/// Nothing has arrived, or a signal interrupted the read.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), Interrupted | WouldBlock)
}
