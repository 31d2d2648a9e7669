//! Where a worker's output goes.

use std::{
    io::{self, Write},
    process::Command,
    time::{Duration, Instant},
};

use super::{flood::Flood, line_log::LineLog, source::Source};
use crate::{events::Subscriber, lines::Stream};

/// Where the output of a worker's process goes.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To the service's stderr.
    Stderr,
    Nowhere,
    Log {
        worker: usize,
        subscriber: Subscriber,
        /// Lines a second for each of the two streams.
        rate: u32,
    },
}

/// Where what comes through one pipe goes.
#[derive(Debug)]
pub(super) enum Sink {
    /// To the service's stderr.
    Stderr,
    Nowhere,
    Log(Box<LineLog>),
}

impl Destination {
    /// Gives the command its stdout and stderr.
    pub(super) fn attach(self, command: &mut Command) -> io::Result<Vec<Source>> {
        match self {
            Self::Stderr => one_pipe(command, Sink::Stderr),
            Self::Nowhere => one_pipe(command, Sink::Nowhere),
            Self::Log {
                worker,
                subscriber,
                rate,
            } => two_pipes(command, |stream| {
                let log = LineLog::new(worker, stream, subscriber.clone(), rate);
                Sink::Log(Box::new(log))
            }),
        }
    }
}

/// Keeps the order, where nobody asks which of the two it was.
fn one_pipe(command: &mut Command, sink: Sink) -> io::Result<Vec<Source>> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    Ok(vec![Source::new(reader, sink)])
}

fn two_pipes(command: &mut Command, sink: impl Fn(Stream) -> Sink) -> io::Result<Vec<Source>> {
    let (stdout, to_stdout) = io::pipe()?;
    let (stderr, to_stderr) = io::pipe()?;
    command.stdout(to_stdout).stderr(to_stderr);
    Ok(vec![
        Source::new(stdout, sink(Stream::Stdout)),
        Source::new(stderr, sink(Stream::Stderr)),
    ])
}

impl Sink {
    /// See [`LineLog::take`].
    pub(super) fn take(&mut self, bytes: &[u8], emptied: bool) -> Option<Duration> {
        match self {
            // A service without stderr has nobody to tell.
            Self::Stderr => drop(io::stderr().write_all(bytes)),
            Self::Nowhere => {}
            Self::Log(log) => return log.take(bytes, emptied),
        }
        None
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
