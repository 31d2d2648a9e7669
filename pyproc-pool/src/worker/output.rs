use std::{
    collections::VecDeque,
    io::{self, PipeReader, PipeWriter, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use tokio::sync::watch;

use crate::WorkerOutput;

/// What a worker wrote to stdout and stderr: the last of it is kept, all of it is
/// passed on.
#[derive(Debug)]
pub(crate) struct Output {
    tail: Arc<Mutex<VecDeque<u8>>>,
    end: watch::Receiver<()>,
    /// Closed on drop, which ends the thread, also when a child that the worker left behind holds
    /// on to its output.
    _stop: PipeWriter,
}

const TAIL: usize = 16 * 1024;

impl Output {
    /// Reads `pipe` on a thread of its own, because the service's stderr may block.
    pub(crate) fn collect(pipe: PipeReader, to: WorkerOutput) -> io::Result<Self> {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (at_end, end) = watch::channel(());
        let kept = Arc::clone(&tail);
        let (stopped, stop) = io::pipe()?;
        thread::Builder::new()
            .name("pyproc-output".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                copy(pipe, &stopped, to, &kept);
                drop(at_end);
            })?;
        Ok(Self {
            tail,
            end,
            _stop: stop,
        })
    }

    /// Waits until the worker, and every process that inherited its output, has closed it.
    pub(crate) async fn ended(&self) {
        // The sender never sends; it is dropped at the end.
        let _ = self.end.clone().changed().await;
    }

    /// The last of what arrived so far.
    pub(crate) fn tail(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn copy(mut pipe: PipeReader, stop: &PipeReader, to: WorkerOutput, kept: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 4096];
    while wait_for(&pipe, stop) {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                keep(
                    &mut kept.lock().unwrap_or_else(PoisonError::into_inner),
                    &buffer[..n],
                );
                if to == WorkerOutput::Inherit {
                    // A service without stderr has nobody to tell.
                    let _ = io::stderr().write_all(&buffer[..n]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Waits for output; false when nobody wants it any more.
fn wait_for(pipe: &PipeReader, stop: &PipeReader) -> bool {
    let mut fds = [
        PollFd::new(pipe, PollFlags::IN),
        PollFd::new(stop, PollFlags::IN),
    ];
    while let Err(Errno::INTR) = poll(&mut fds, None) {}
    fds[1].revents().is_empty()
}

fn keep(tail: &mut VecDeque<u8>, bytes: &[u8]) {
    tail.extend(bytes);
    let excess = tail.len().saturating_sub(TAIL);
    tail.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_bounded_and_holds_the_last_bytes() {
        let mut tail = VecDeque::new();
        for _ in 0..100 {
            keep(&mut tail, &[b'x'; 1000]);
        }
        keep(&mut tail, b"end");
        assert_eq!(tail.len(), TAIL);
        assert!(tail.iter().copied().rev().take(3).eq(*b"dne"));
    }

    #[tokio::test]
    async fn all_that_was_written_is_kept_when_the_pipe_is_closed() {
        let (reader, mut writer) = io::pipe().unwrap();
        let output = Output::collect(reader, WorkerOutput::Discard).unwrap();
        writer.write_all(b"last words \xff").unwrap();
        drop(writer);
        output.ended().await;
        assert_eq!(output.tail(), "last words \u{fffd}");
    }
}
