//! One pipe that a worker writes to.

use std::{
    io::PipeReader,
    mem::MaybeUninit,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::io::{Errno, read};

use super::{
    flood::{BUFFER, Flood},
    sink::Sink,
    tail::Tail,
};

/// The pipe, and where that goes which comes through it.
#[derive(Debug)]
pub(super) struct WorkerPipe {
    pub(super) pipe: Arc<PipeReader>,
    sink: Sink,
    /// It has been given more room.
    wide: bool,
}

/// Where bytes are read to. What is not used of it takes no memory.
pub(super) type Buffer = [MaybeUninit<u8>];

/// What is to be done with a source after it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AfterRead {
    Read,
    /// Wait before it is read again.
    Pause(Duration),
    End,
}

impl WorkerPipe {
    pub(super) fn new(pipe: impl Into<Arc<PipeReader>>, sink: Sink) -> Self {
        Self {
            pipe: pipe.into(),
            sink,
            wide: false,
        }
    }

    /// Reads what is there, which must be something, or the end.
    pub(super) fn read(&mut self, buffer: &mut Buffer, kept: &Tail) -> AfterRead {
        let read_size = self.sink.flood().map_or(BUFFER, Flood::read_size);
        let buffer = &mut buffer[..read_size];
        let pause = match &mut self.sink {
            Sink::Log(log) => log.read(buffer).map(|(bytes, pause)| {
                kept.keep(bytes);
                (bytes.len(), pause)
            }),
            other => read(&self.pipe, buffer).map(|(bytes, _)| {
                kept.keep(bytes);
                other.take(bytes);
                (bytes.len(), None)
            }),
        };
        match pause {
            Ok((0, _)) => AfterRead::End,
            Ok((_, None)) => AfterRead::Read,
            Ok((_, Some(pause))) => {
                self.widen();
                AfterRead::Pause(pause)
            }
            Err(Errno::INTR) => AfterRead::Read,
            Err(_) => AfterRead::End,
        }
    }

    /// When to call [`tick`](Self::tick) if nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sink.deadline()
    }

    /// Passes on what was held back for long enough.
    pub(super) fn tick(&mut self) {
        self.sink.tick();
    }

    /// Passes on all that was held back.
    pub(super) fn end(&mut self) {
        self.sink.end();
    }

    /// Lets a worker that writes many lines at once write more of them between two looks. It is no matter if the system
    /// does not.
    fn widen(&mut self) {
        let coarse = self.sink.flood().is_some_and(Flood::writes_in_bulk);
        #[cfg(target_os = "linux")]
        if coarse && !self.wide {
            let _ = rustix::pipe::fcntl_setpipe_size(&self.pipe, 1024 * 1024);
        }
        self.wide |= coarse;
    }
}
