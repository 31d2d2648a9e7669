//! A pair of ends within this process. Each direction has bounded capacity, as a socket has.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice, Read},
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;

use crate::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct End {
    pub(super) read: ReadHalf,
    pub(super) write: WriteHalf,
}

#[derive(Debug)]
pub(crate) struct ReadHalf(Arc<Direction>);

#[derive(Debug)]
pub(crate) struct WriteHalf {
    to: Arc<Direction>,
    /// The direction that the same end reads.
    from: Arc<Direction>,
}

/// The bytes in flight in one direction.
#[derive(Debug)]
struct Direction(Mutex<State>);

#[derive(Debug)]
struct State {
    bytes: VecDeque<u8>,
    room: usize,
    /// The writer is closed, or the reader is.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends, with this capacity in bytes for each direction.
#[cfg_attr(
    not(any(test, feature = "testing")),
    expect(dead_code, reason = "only tests make pairs")
)]
pub(crate) fn pair(room: usize) -> (End, End) {
    let [there, back] = [(), ()].map(|()| Arc::new(Direction::new(room)));
    let end = |from: &Arc<Direction>, to: &Arc<Direction>| End {
        read: ReadHalf(Arc::clone(from)),
        write: WriteHalf {
            to: Arc::clone(to),
            from: Arc::clone(from),
        },
    };
    (end(&back, &there), end(&there, &back))
}

impl End {
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            poll_fn(|cx| self.write.poll_write_ready(cx)).await;
            match self.write.try_write(&[IoSlice::new(bytes)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl ReadHalf {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if state.bytes.is_empty() && !state.closed {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, back) = state.bytes.as_slices();
        buffer.extend_from_slice(front);
        buffer.extend_from_slice(back);
        let read = state.bytes.len();
        state.bytes.clear();
        wake(state, |it| &mut it.writer);
        Poll::Ready(Ok(read))
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.bytes.is_empty() && !state.closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = state.bytes.read(buffer)?;
        wake(state, |it| &mut it.writer);
        Ok(read)
    }
}

impl WriteHalf {
    pub(super) fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.to.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        for frame in frames {
            let part = &frame[..frame.len().min(state.free())];
            state.bytes.extend(part);
            written += part.len();
        }
        if written == 0 && frames.iter().any(|frame| !frame.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wake(state, |it| &mut it.reader);
        Ok(written)
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.to.lock();
        if state.free() > 0 || state.closed {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn hang_up(&self) {
        self.to.close();
        self.from.close();
    }
}

impl Direction {
    fn new(room: usize) -> Self {
        Self(Mutex::new(State {
            bytes: VecDeque::new(),
            room,
            closed: false,
            reader: None,
            writer: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = [state.reader.take(), state.writer.take()];
        drop(state);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    fn free(&self) -> usize {
        self.room - self.bytes.len()
    }
}

/// Wakes the waiting task after the lock's release.
fn wake(mut state: MutexGuard<'_, State>, who: impl FnOnce(&mut State) -> &mut Option<Waker>) {
    let waiting = who(&mut state).take();
    drop(state);
    waiting.into_iter().for_each(Waker::wake);
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.to.close();
    }
}
