//! Where the bytes from one pipe go.

use std::{
    io::{self, Write},
    time::Instant,
};

use super::{flood::Flood, line_log::LineLog};

/// Where the bytes from one pipe go.
#[derive(Debug)]
pub(super) enum Sink {
    /// To the service's stderr.
    Stderr,
    Nowhere,
    Log(Box<LineLog>),
}

impl Sink {
    /// Takes bytes that are not logged.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if let Self::Stderr = self {
            // A service without stderr loses them.
            let _ = io::stderr().write_all(bytes);
        }
    }

    pub(super) fn flood(&self) -> Option<&Flood> {
        match self {
            Self::Log(log) => Some(&log.flood),
            _ => None,
        }
    }

    /// See [`LineLog::deadline`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Log(log) => log.deadline(),
            _ => None,
        }
    }

    /// See [`LineLog::tick`].
    pub(super) fn tick(&mut self) {
        if let Self::Log(log) = self {
            log.tick(Instant::now());
        }
    }

    /// See [`LineLog::end`].
    pub(super) fn end(&mut self) {
        if let Self::Log(log) = self {
            log.end(Instant::now());
        }
    }
}
