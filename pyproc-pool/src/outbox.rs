use std::{collections::VecDeque, mem};

use bytes::{Buf, Bytes};
use pyproc_protocol::PreparedRequest;

/// Frames on their way to a worker. Small ones are copied together, so that one write takes
/// them all; large ones stay where they are.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What goes out before `tail`.
    front: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes of `tail` that are gone already.
    written: usize,
}

/// From this size on a frame is not copied.
const LARGE: usize = 16 * 1024;

/// Memory that is kept when it isn't needed for the moment.
const KEPT: usize = 256 * 1024;

impl Outbox {
    /// Adds a request, and returns its memory if it is free for another.
    pub(crate) fn push(&mut self, id: u64, request: PreparedRequest) -> Option<Vec<u8>> {
        if request.len_hint() < LARGE {
            request.write(id, &mut self.tail);
            return Some(request.into_buffer());
        }
        if !self.tail.is_empty() {
            self.front.push_back(mem::take(&mut self.tail).into());
        }
        self.front.push_back(request.into_frame(id));
        None
    }

    /// For control messages, which are small.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunk().is_empty()
    }

    /// What is to be written next.
    pub(crate) fn chunk(&self) -> &[u8] {
        match self.front.front() {
            Some(frame) => frame,
            None => &self.tail[self.written..],
        }
    }

    /// The first `n` bytes of the chunk have been written.
    pub(crate) fn advance(&mut self, n: usize) {
        let Some(frame) = self.front.front_mut() else {
            self.written += n;
            if self.written == self.tail.len() {
                self.tail.clear();
                self.tail.shrink_to(KEPT);
                self.written = 0;
            }
            return;
        };
        frame.advance(n);
        if frame.is_empty() {
            self.front.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use pyproc_protocol::Headers;

    use super::*;

    fn request(size: usize) -> PreparedRequest {
        let body = "x".repeat(size);
        PreparedRequest::new("m", &body, &Headers::new(), 1 << 20, Vec::new()).unwrap()
    }

    #[test]
    fn frames_leave_in_order_whatever_their_size_and_the_steps() {
        let sizes = [10, 20, 50_000, 30, 60_000, 70_000, 5];
        for step in [1, 1000, usize::MAX] {
            let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
            for (id, size) in sizes.iter().enumerate() {
                request(*size).write(id as u64, &mut expected);
                outbox.push(id as u64, request(*size));
            }
            let mut written = Vec::new();
            while !outbox.is_empty() {
                let n = outbox.chunk().len().min(step);
                written.extend_from_slice(&outbox.chunk()[..n]);
                outbox.advance(n);
            }
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn memory_of_small_requests_comes_back_and_large_ones_are_not_copied() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(1, request(10)).is_some());
        assert!(outbox.push(2, request(LARGE)).is_none());
    }
}
