use std::{collections::VecDeque, io::IoSlice, mem};

use bytes::{Buf, Bytes};
use pyproc_protocol::{EncodeError, RequestHead, Version};

use crate::outgoing::{Payload, discard};

/// Frames to be written to a worker. Small ones are copied into one buffer; large payloads are not copied. One write
/// takes all of them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Pieces that leave before `tail`.
    front: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Number of bytes of `tail` that have been written.
    written: usize,
}

/// Payloads of this size and more are not copied.
pub(crate) const LARGE: usize = 16 * 1024;

/// Capacity that an empty buffer keeps, in bytes.
const KEPT: usize = 256 * 1024;

/// The most pieces of one write.
const SLICES: usize = 16;

impl Outbox {
    /// Adds a request, and returns its buffer if it is free for another. The payload is taken, unless the request is
    /// rejected or the caller has to `keep` it.
    pub(crate) fn push(
        &mut self,
        version: Version,
        head: &RequestHead<'_>,
        payload: &mut Payload,
        keep: bool,
        max_frame_size: usize,
    ) -> Result<Option<Vec<u8>>, EncodeError> {
        let bytes = payload.as_slice();
        if bytes.len() < LARGE {
            head.encode(version, bytes, max_frame_size, &mut self.tail)?;
            return Ok(match keep {
                true => None,
                false => mem::take(payload).into_buffer(),
            });
        }
        let closing = head.begin(version, bytes.len(), max_frame_size, &mut self.tail)?;
        // An outbox is swapped for an empty one before it is written, so nothing of this one has been written.
        debug_assert_eq!(self.written, 0);
        let tail = mem::take(&mut self.tail);
        let payload = match keep {
            true => payload.share(),
            false => mem::take(payload).into_bytes(),
        };
        self.front.extend([tail.into(), payload]);
        self.tail.extend_from_slice(closing.as_bytes());
        Ok(None)
    }

    /// The large payloads that were not written.
    pub(crate) fn into_payloads(mut self) -> impl Iterator<Item = Bytes> {
        mem::take(&mut self.front).into_iter()
    }

    /// The buffer for control messages, which are small.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.tail.len() == self.written
    }

    /// The next pieces to write. There may be more.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let pieces = self.front.iter().map(|piece| &piece[..]);
        let pieces = pieces.chain([&self.tail[self.written..]]);
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        (slices, count)
    }

    /// The first `n` bytes have been written.
    pub(crate) fn advance(&mut self, mut n: usize) {
        while let Some(piece) = self.front.front_mut() {
            if n < piece.len() {
                piece.advance(n);
                return;
            }
            n -= piece.len();
            self.front.pop_front().into_iter().for_each(discard);
        }
        self.written += n;
        if self.written == self.tail.len() {
            self.tail.clear();
            self.tail.shrink_to(KEPT);
            self.written = 0;
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.front.drain(..).for_each(discard);
    }
}

#[cfg(test)]
mod tests {
    use pyproc_protocol::Headers;

    use super::*;

    const MAX: usize = 1 << 20;

    fn push(outbox: &mut Outbox, version: Version, id: u64, size: usize) -> Option<Vec<u8>> {
        let mut payload = Payload::Buffer(vec![b'1'; size]);
        let headers = Headers::new();
        let head = RequestHead::new(id, "m", &headers);
        outbox
            .push(version, &head, &mut payload, false, MAX)
            .unwrap()
    }

    #[test]
    fn frames_leave_in_order_whatever_their_size_the_version_and_the_steps() {
        let sizes = [10, 20, 50_000, 30, 60_000, 70_000, 5];
        for version in [Version::V1, Version::V2] {
            for step in [1, 1000, usize::MAX] {
                let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
                for (id, size) in sizes.iter().enumerate() {
                    let headers = Headers::new();
                    let head = RequestHead::new(id as u64, "m", &headers);
                    let payload = vec![b'1'; *size];
                    head.encode(version, &payload, MAX, &mut expected).unwrap();
                    push(&mut outbox, version, id as u64, *size);
                }
                assert_eq!(written_in_steps(outbox, step), expected);
            }
        }
    }

    fn written_in_steps(mut outbox: Outbox, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !outbox.is_empty() {
            let (slices, count) = outbox.slices();
            let before = written.len();
            for slice in &slices[..count] {
                let room = step.saturating_sub(written.len() - before);
                written.extend_from_slice(&slice[..slice.len().min(room)]);
            }
            outbox.advance(written.len() - before);
        }
        written
    }

    #[test]
    fn memory_of_small_requests_comes_back_and_large_ones_are_not_copied() {
        let mut outbox = Outbox::default();
        assert!(push(&mut outbox, Version::V2, 1, 10).is_some());
        assert!(push(&mut outbox, Version::V2, 2, LARGE).is_none());
    }
}
