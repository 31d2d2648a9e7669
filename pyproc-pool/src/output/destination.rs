//! Where a worker's output goes, according to its settings.

use std::{io, process::Command, sync::Arc};

use super::{call_attributor::CallAttributor, line_log::LineLog, pipe::WorkerPipe, sink::Sink};
use crate::{events::Subscriber, output::lines::Stream};

/// Where the output of a worker's process goes.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To the service's stderr.
    Stderr,
    Nowhere,
    Log {
        worker: usize,
        subscriber: Subscriber,
        /// Lines per second for each of the two streams.
        rate: u32,
    },
}

/// The pipes from a process's stdout and stderr.
pub(crate) struct Pipes {
    pub(super) sources: Vec<WorkerPipe>,
    /// Set if the output is logged.
    pub(super) attributor: Option<Arc<CallAttributor>>,
}

impl Destination {
    /// Connects the command's stdout and stderr to pipes.
    pub(crate) fn attach(self, command: &mut Command) -> io::Result<Pipes> {
        match self {
            Self::Stderr => one_pipe(command, Sink::Stderr),
            Self::Nowhere => one_pipe(command, Sink::Nowhere),
            Self::Log {
                worker,
                subscriber,
                rate,
            } => two_pipes(command, |stream, attributor| {
                LineLog::new(worker, stream, attributor, subscriber.clone(), rate)
            }),
        }
    }
}

/// One pipe keeps the order of both streams, where it does not matter which of the two a line is from.
fn one_pipe(command: &mut Command, sink: Sink) -> io::Result<Pipes> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    Ok(Pipes {
        sources: vec![WorkerPipe::new(reader, sink)],
        attributor: None,
    })
}

fn two_pipes(
    command: &mut Command,
    log: impl Fn(Stream, Arc<CallAttributor>) -> LineLog,
) -> io::Result<Pipes> {
    let (stdout, to_stdout) = io::pipe()?;
    let (stderr, to_stderr) = io::pipe()?;
    command.stdout(to_stdout).stderr(to_stderr);
    let (stdout, stderr) = (Arc::new(stdout), Arc::new(stderr));
    let attributor = Arc::new(CallAttributor::new(
        Arc::clone(&stdout),
        Arc::clone(&stderr),
    ));
    let source = |pipe, stream| {
        let log = log(stream, Arc::clone(&attributor));
        WorkerPipe::new(pipe, Sink::Log(Box::new(log)))
    };
    Ok(Pipes {
        sources: vec![
            source(stdout, Stream::Stdout),
            source(stderr, Stream::Stderr),
        ],
        attributor: Some(attributor),
    })
}
