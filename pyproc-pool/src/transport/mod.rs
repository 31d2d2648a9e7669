//! The transports to workers, behind one enum.
//!
//! A transport moves whole frames in batches: one write takes all frames that are ready, one read all that have
//! arrived. It reports who its peer is, whether the peer is on this host, and how large a frame may be. The rooms above
//! decide what frames contain, when to write, and whom to wake; they work the same over each transport.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::io::poll_read_buf;

mod memory;

#[derive(Debug)]
pub(crate) enum Transport {
    Unix(UnixStream),
    /// Within this process, for tests.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        expect(dead_code, reason = "only tests have such peers")
    )]
    Memory(memory::End),
}

/// Starts a worker of this process for a slot, and connects to it.
#[cfg(feature = "testing")]
#[derive(Clone)]
pub(crate) struct InProcess(pub(crate) std::sync::Arc<dyn Fn(usize) -> Transport + Send + Sync>);

#[cfg(feature = "testing")]
impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

/// The process at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    /// Its process id, if it is another process of this host and the system reports it.
    pub(crate) pid: Option<i32>,
}

/// The end that frames arrive at. Only the connection's task reads.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    Unix(OwnedReadHalf),
    Memory(memory::ReadHalf),
}

/// The end that frames leave from. The current writer of a batch writes. When it is dropped, the peer can still read
/// all that was written.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Unix(OwnedWriteHalf),
    Memory(memory::WriteHalf),
}

impl Transport {
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        match self {
            Self::Unix(stream) => {
                let peer = stream.peer_cred()?;
                Ok(Peer {
                    uid: peer.uid(),
                    pid: peer.pid(),
                })
            }
            Self::Memory(_) => Ok(Peer {
                uid: rustix::process::geteuid().as_raw(),
                pid: None,
            }),
        }
    }

    /// Whether the peer is on this host, so that process ids mean the same to both.
    pub(crate) fn is_on_this_host(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Memory(_) => true,
        }
    }

    /// The largest frame that it transports, in bytes without the length prefix.
    pub(crate) fn max_frame_size(&self) -> usize {
        match self {
            // The largest length that the prefix can express.
            Self::Unix(_) | Self::Memory(_) => u32::MAX as usize,
        }
    }

    /// Writes all bytes. For the handshake, before the ends are split.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(bytes).await,
            Self::Memory(end) => end.write_all(bytes).await,
        }
    }

    /// Reads what has arrived; 0 bytes at the end. For the handshake, before the ends are split.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read_buf(buffer).await,
            Self::Memory(end) => poll_fn(|cx| end.read.poll_read(cx, buffer)).await,
        }
    }

    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
            Self::Memory(end) => (ReadHalf::Memory(end.read), WriteHalf::Memory(end.write)),
        }
    }
}

impl ReadHalf {
    /// Reads once what has arrived, up to the buffer's capacity; 0 bytes at the end.
    #[inline]
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Unix(read) => poll_read_buf(Pin::new(read), cx, buffer),
            Self::Memory(read) => read.poll_read(cx, buffer),
        }
    }

    /// The same without the runtime, which learns of new data only at its next turn.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(read) => {
                let stream: &UnixStream = read.as_ref();
                Ok(recv(stream, buffer, RecvFlags::DONTWAIT)?.1)
            }
            Self::Memory(read) => read.try_read(buffer),
        }
    }
}

impl WriteHalf {
    /// Writes once as much as there is room for.
    #[inline]
    pub(crate) fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(write) => write.try_write_vectored(frames),
            Self::Memory(write) => write.try_write(frames),
        }
    }

    /// The same as soon as there is room. Only one task may wait for that at a time.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self {
                Self::Unix(write) => ready!(write.as_ref().poll_write_ready(cx))?,
                Self::Memory(write) => ready!(write.poll_write_ready(cx)),
            }
            match self.try_write(frames) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Closes both directions at the peer's end.
    pub(crate) fn hang_up(&self) {
        match self {
            Self::Unix(write) => {
                let stream: &UnixStream = write.as_ref();
                // This fails only if the peer has closed the connection before.
                let _ = shutdown(stream, Shutdown::Both);
            }
            Self::Memory(write) => write.hang_up(),
        }
    }
}

#[cfg(any(test, feature = "testing"))]
pub(crate) use memory::pair;

#[cfg(test)]
mod tests;
