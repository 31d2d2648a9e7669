use std::{io, time::Instant};

use bytes::{Bytes, BytesMut};
use pyproc_protocol::{ClientEvent, ClientSession, Peer, v2::Response};

use super::Closed;
use crate::{ProtocolViolation, clock::Clock, transport::ReadHalf};

/// What has arrived from a worker and not reached its callers yet.
#[derive(Debug)]
pub(crate) struct Inbox {
    session: ClientSession,
    pub(crate) input: BytesMut,
    pub(crate) answers: Vec<Response>,
    /// Frames of what the worker reports beside.
    pub(crate) records: Vec<Bytes>,
    /// Such frames that were longer than the maximum, and read past.
    pub(crate) too_long: u64,
    pub(crate) clock: Clock,
    pub(crate) arrived: Instant,
    drain: Drain,
    /// What the worker did wrong after all that is in `answers`.
    violation: Option<ProtocolViolation>,
    /// Where [`look`](Self::look) puts what it finds.
    scratch: Vec<u8>,
}

/// Whether the worker said that it takes no more requests, and the scheduler knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    Unknown,
    Known,
}

/// At least this much can be read at once.
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
        // Something may have arrived together with the end of the handshake.
        inbox.parse();
        inbox
    }

    pub(crate) fn peer(&self) -> &Peer {
        // A connection begins after the handshake.
        self.session.peer().unwrap_or(&Peer::Legacy)
    }

    /// Whether nothing waits to be delivered.
    pub(crate) fn is_empty(&self) -> bool {
        self.answers.is_empty()
            && !self.has_records()
            && self.violation.is_none()
            && self.drain != Drain::Unknown
    }

    /// The buffer to read into, with room.
    pub(crate) fn with_room(&mut self) -> &mut BytesMut {
        if self.input.capacity() - self.input.len() < READ_ROOM {
            self.input.reserve(READ_BUFFER);
        }
        &mut self.input
    }

    /// Takes apart what has been read.
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

    /// Whether the worker reported something, even if it was too long.
    pub(crate) fn has_records(&self) -> bool {
        !self.records.is_empty() || self.too_long > 0
    }

    /// Whether the worker said that it takes no more requests.
    pub(crate) fn has_drain(&self) -> bool {
        self.drain != Drain::No
    }

    /// Whether the scheduler is to be told, now, that the worker takes no more requests.
    pub(crate) fn take_drain(&mut self) -> bool {
        let is_news = self.drain == Drain::Unknown;
        if is_news {
            self.drain = Drain::Known;
        }
        is_news
    }

    /// What the worker did wrong. What came before was in order, and is to be delivered first.
    pub(crate) fn take_violation(&mut self) -> Option<ProtocolViolation> {
        self.violation.take()
    }

    /// Takes what has arrived without asking the runtime, which knows only after its next turn. Returns
    /// whether there was anything.
    pub(crate) fn look(&mut self, read: &ReadHalf) -> Result<bool, Closed> {
        if self.scratch.is_empty() {
            self.scratch = vec![0; READ_BUFFER];
        }
        match read.look(&mut self.scratch) {
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

/// Nothing has arrived, or the system did not look.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), Interrupted | WouldBlock)
}
