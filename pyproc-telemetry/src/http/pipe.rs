//! A pipe with backpressure from a writing thread to a reading task.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

/// The size of a chunk.
const CHUNK: usize = 16 * 1024;

/// The bytes that may wait for the reader. Most services have fewer, so that a slow reader blocks no other scrape.
const CAPACITY: usize = 256 * 1024;

/// How long to wait for room between two calls of the writer's `patience`.
const TICK: Duration = Duration::from_millis(20);

pub(super) fn pipe() -> (Writer, Reader) {
    let pipe = Arc::new(Pipe::default());
    let writer = Writer {
        pipe: Arc::clone(&pipe),
        chunk: BytesMut::new(),
        patience: Box::new(|_| true),
    };
    (writer, Reader(pipe))
}

/// A drop without [`finish`](Writer::finish) is an error for the reader.
pub(super) struct Writer {
    pipe: Arc<Pipe>,
    chunk: BytesMut,
    patience: Box<dyn Fn(Duration) -> bool + Send>,
}

/// A drop is an error for the writer.
pub(super) struct Reader(Arc<Pipe>);

#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    /// Notified when there is room, or no reader any more.
    room: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    end: Option<End>,
    reader: Option<Waker>,
    reader_is_gone: bool,
}

#[derive(Clone, Copy)]
enum End {
    Whole,
    Broken,
}

impl Writer {
    /// Sets whether to continue with a reader that has taken nothing for a time. Called before each chunk, and while
    /// the reader stalls. Default: always.
    pub(super) fn set_patience(&mut self, patience: impl Fn(Duration) -> bool + Send + 'static) {
        self.patience = Box::new(patience);
    }

    pub(super) fn is_read(&self) -> bool {
        !self.pipe.lock().reader_is_gone
    }

    /// Ends the pipe after the last byte.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.hand_over()?;
        self.pipe.end(End::Whole);
        Ok(())
    }

    /// Waits for room.
    fn hand_over(&mut self) -> io::Result<()> {
        let chunk = self.chunk.split().freeze();
        if chunk.is_empty() {
            return Ok(());
        }
        let begin = Instant::now();
        let mut state = self.pipe.lock();
        loop {
            let wait = |state: &mut State| state.bytes >= CAPACITY && !state.reader_is_gone;
            let waited = self.pipe.room.wait_timeout_while(state, TICK, wait);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if !(self.patience)(begin.elapsed()) {
                let reason = "the reader is too slow, and others wait";
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            if !timeout.timed_out() {
                break;
            }
        }
        if state.reader_is_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.bytes += chunk.len();
        state.chunks.push_back(chunk);
        Pipe::wake(state);
        Ok(())
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() >= CHUNK {
            self.hand_over()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.pipe.end(End::Broken);
    }
}

impl Reader {
    /// The next bytes; `None` at the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut state = self.0.lock();
        if let Some(End::Broken) = state.end {
            let reason = "the metrics could not be written to their end";
            return Poll::Ready(Some(Err(io::Error::other(reason))));
        }
        if let Some(chunk) = state.chunks.pop_front() {
            state.bytes -= chunk.len();
            drop(state);
            self.0.room.notify_one();
            return Poll::Ready(Some(Ok(chunk)));
        }
        if state.end.is_some() {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_is_gone = true;
        let waker = state.reader.take();
        drop(state);
        drop(waker);
        self.0.room.notify_one();
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first end counts.
    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        Self::wake(state);
    }

    /// Wakes after the lock's release, as the woken task may drop the reader.
    fn wake(mut state: MutexGuard<'_, State>) {
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write, thread};

    use futures_executor::block_on;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn read(reader: &mut Reader) -> Option<io::Result<Bytes>> {
        block_on(poll_fn(|cx| reader.poll_next(cx)))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sizes in vec(0..3 * CHUNK, 0..20)) {
            let (mut writer, mut reader) = pipe();
            let parts = sizes.iter().enumerate().map(|(part, size)| vec![part as u8; *size]);
            let parts: Vec<_> = parts.collect();
            let expected = parts.concat();
            let writes = thread::spawn(move || {
                parts.iter().try_for_each(|part| writer.write_all(part))?;
                writer.finish()
            });
            let mut all = Vec::new();
            while let Some(bytes) = read(&mut reader) {
                all.extend(bytes.unwrap());
            }
            prop_assert!(all == expected);
            prop_assert!(writes.join().unwrap().is_ok());
        }
    }

    #[test]
    fn a_reader_that_stalls_has_so_much_at_most_and_is_given_up_when_patience_ends() {
        let (mut writer, mut reader) = pipe();
        writer.set_patience(|stalled| stalled < TICK);
        let error = writer.write_all(&[0; 2 * CAPACITY]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(reader.0.lock().bytes, CAPACITY);
        drop(writer);
        assert!(read(&mut reader).unwrap().is_err());
    }

    #[test]
    fn an_end_without_its_finish_is_an_error() {
        let (mut writer, mut reader) = pipe();
        writer.write_all(b"x").unwrap();
        drop(writer);
        assert!(read(&mut reader).unwrap().is_err());
    }

    #[test]
    fn a_writer_whose_reader_is_gone_does_not_wait() {
        let (mut writer, reader) = pipe();
        drop(reader);
        let error = writer.write_all(&[0; 2 * CAPACITY]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
