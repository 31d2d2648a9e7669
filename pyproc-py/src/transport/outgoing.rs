//! Frames on their way to a client.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::AsFd;

use rustix::net::{SendFlags, send};

/// Bytes of capacity that are kept for later answers.
const KEPT_CAPACITY: usize = 256 * 1024;

/// Writing to a closed connection is an error, never a signal. (macOS has no such flag; Python ignores
/// the signal.)
#[cfg(target_os = "linux")]
const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(not(target_os = "linux"))]
const FLAGS: SendFlags = SendFlags::DONTWAIT;

/// What has not been sent yet.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// What follows `bytes`, if there was no memory to append it there.
    later: VecDeque<Vec<u8>>,
}

impl Outgoing {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.later.iter().map(Vec::len).sum::<usize>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where frames are appended.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        self.later.back_mut().unwrap_or(&mut self.bytes)
    }

    /// Moves `frames` to the end and leaves them empty. Nothing is copied if nothing waits or memory is short.
    pub(crate) fn append(&mut self, frames: &mut Vec<u8>) {
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
            mem::swap(&mut self.bytes, frames);
        } else if self.end().try_reserve(frames.len()).is_ok() {
            self.end().append(frames);
        } else {
            self.later.push_back(mem::take(frames));
        }
    }

    /// Sends as much as the client takes.
    pub(crate) fn send(&mut self, socket: impl AsFd) -> io::Result<()> {
        loop {
            if self.sent == self.bytes.len() {
                self.sent = 0;
                match self.later.pop_front() {
                    Some(next) => self.bytes = next,
                    None => break,
                }
            }
            match send(socket.as_fd(), &self.bytes[self.sent..], FLAGS) {
                Ok(count) => self.sent += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    self.discard_sent();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.clear();
        Ok(())
    }

    /// Frees what was sent. Otherwise a client that always reads a little would make the buffer grow without bound.
    fn discard_sent(&mut self) {
        if self.sent > KEPT_CAPACITY && self.sent > self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
        self.sent = 0;
        self.later.clear();
    }
}
