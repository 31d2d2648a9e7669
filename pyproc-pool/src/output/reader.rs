use std::{
    io::{self, PipeReader, PipeWriter},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio::sync::watch;

use super::{
    call_attributor::CallAttributor,
    destination::Pipes,
    flood::BUFFER,
    pipe::{AfterRead, WorkerPipe},
    tail::Tail,
};

/// Reads a worker's stdout and stderr. It keeps the last bytes, and passes all of them on.
#[derive(Debug)]
pub(crate) struct OutputReader {
    tail: Tail,
    attributor: Option<Arc<CallAttributor>>,
    end: watch::Receiver<()>,
    /// Closed on drop, which ends the thread even if a child of the worker still holds the pipes.
    _stop: PipeWriter,
}

impl OutputReader {
    /// Reads the pipes on a thread of its own, because the destination may block.
    pub(crate) fn collect(pipes: Pipes) -> io::Result<Self> {
        let Pipes {
            mut sources,
            attributor,
        } = pipes;
        let tail = Tail::default();
        let (at_end, end) = watch::channel(());
        let kept = tail.clone();
        let (stopped, stop) = io::pipe()?;
        thread::Builder::new()
            .name("pyproc-output".into())
            .stack_size(512 * 1024)
            .spawn(move || {
                copy(&mut sources, &stopped, &kept);
                sources.iter_mut().for_each(WorkerPipe::end);
                drop(at_end);
            })?;
        Ok(Self {
            tail,
            attributor,
            end,
            _stop: stop,
        })
    }

    /// Waits until the worker, and every process that inherited its output, has closed it.
    pub(crate) async fn ended(&self) {
        // The sender never sends; it is dropped at the end.
        let _ = self.end.clone().changed().await;
    }

    /// Attributes output to calls; `None` if the output is not logged.
    pub(crate) fn attributor(&self) -> Option<&Arc<CallAttributor>> {
        self.attributor.as_ref()
    }

    /// The last bytes that arrived.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }
}

/// Runs until all pipes are closed, or the reader is dropped.
fn copy(sources: &mut Vec<WorkerPipe>, stop: &PipeReader, kept: &Tail) {
    // On the heap, because all pages of a buffer on the stack would be touched.
    let mut buffer = Box::new_uninit_slice(BUFFER);
    while !sources.is_empty() {
        let deadline = sources.iter().filter_map(WorkerPipe::deadline).min();
        let Some(ready) = wait(sources.iter().map(|it| &*it.pipe), stop, deadline) else {
            return;
        };
        let (mut ready, mut pause) = (ready.into_iter(), None);
        sources.retain_mut(|source| {
            let ready = ready.next().unwrap_or(PollFlags::empty());
            let next = match ready.is_empty() {
                true => AfterRead::Read,
                false => source.read(&mut buffer, kept),
            };
            source.tick();
            match next {
                AfterRead::Read => {}
                // The process has ended, so no more than this is in the pipe.
                AfterRead::Pause(_) if ready.contains(PollFlags::HUP) => {}
                AfterRead::Pause(length) => pause = pause.max(Some(length)),
                AfterRead::End => source.end(),
            }
            next != AfterRead::End
        });
        let Some(pause) = pause else {
            continue;
        };
        if wait([], stop, Some(Instant::now() + pause)).is_none() {
            return;
        }
    }
}

/// Waits for output or until `deadline`, and returns the events of each pipe; `None` when the reader was dropped.
fn wait<'a>(
    pipes: impl IntoIterator<Item = &'a PipeReader>,
    stop: &PipeReader,
    deadline: Option<Instant>,
) -> Option<Vec<PollFlags>> {
    let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
    fds.extend(
        pipes
            .into_iter()
            .map(|pipe| PollFd::new(pipe, PollFlags::IN)),
    );
    let rest = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
    while let Err(Errno::INTR) = poll(&mut fds, deadline.map(rest).map(timespec).as_ref()) {}
    let ready: Vec<_> = fds.iter().map(PollFd::revents).collect();
    ready[0].is_empty().then(|| ready[1..].to_vec())
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::output::sink::Sink;

    #[tokio::test]
    async fn all_that_was_written_is_kept_when_the_pipe_is_closed() {
        let (reader, mut writer) = io::pipe().unwrap();
        let output = OutputReader::collect(Pipes {
            sources: vec![WorkerPipe::new(reader, Sink::Nowhere)],
            attributor: None,
        })
        .unwrap();
        writer.write_all(b"last words \xff").unwrap();
        drop(writer);
        output.ended().await;
        assert_eq!(output.tail().text(), "last words \u{fffd}");
    }
}
