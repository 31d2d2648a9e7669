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

/// A pipe, and where its bytes go.
#[derive(Debug)]
pub(super) struct WorkerPipe {
    pub(super) pipe: Arc<PipeReader>,
    sink: Sink,
    /// Whether the pipe's buffer was enlarged.
    wide: bool,
}

/// The buffer to read into. Its unused part takes no memory.
pub(super) type Buffer = [MaybeUninit<u8>];

/// What to do with a pipe after a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AfterRead {
    Read,
    /// Wait before the next read.
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

    /// Reads a pipe that is ready: bytes, or the end.
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

    /// Emits what was held back for long enough.
    pub(super) fn tick(&mut self) {
        self.sink.tick();
    }

    /// Emits all that was held back.
    pub(super) fn end(&mut self) {
        self.sink.end();
    }

    /// Enlarges the pipe's buffer, so that a worker that writes many lines at once can write more between two reads. It
    /// does no harm if the system refuses.
    fn widen(&mut self) {
        let coarse = self.sink.flood().is_some_and(Flood::writes_in_bulk);
        #[cfg(target_os = "linux")]
        if coarse && !self.wide {
            let _ = rustix::pipe::fcntl_setpipe_size(&self.pipe, 1024 * 1024);
        }
        self.wide |= coarse;
    }
}
