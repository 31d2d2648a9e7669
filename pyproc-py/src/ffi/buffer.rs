//! Appends many short pieces of bytes to a bounded buffer, whose length is written back once.

/// The longest piece of [`BufferWriter::put_short`].
pub(crate) const SHORT_PIECE: usize = 32;

/// Bytes that are reserved beyond what is needed.
const GROWTH: usize = 256;

/// Why no more can be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// More than the limit.
    TooLarge,
    /// The system gives no more memory.
    OutOfMemory,
}

/// A buffer that ends soon after a limit. What is appended beyond is discarded, and `overflow` says why.
pub(crate) struct BoundedBuffer<'a> {
    out: &'a mut Vec<u8>,
    /// Bytes of the buffer, with those that were there before.
    limit: usize,
    overflow: Option<Overflow>,
}

impl<'a> BoundedBuffer<'a> {
    /// Appends to `out`, at most about `limit` bytes.
    pub(crate) fn new(out: &'a mut Vec<u8>, limit: usize) -> Self {
        let limit = out.len().saturating_add(limit);
        Self {
            out,
            limit,
            overflow: None,
        }
    }

    pub(crate) fn overflow(&self) -> Option<Overflow> {
        self.overflow
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut u8> {
        self.out.get_mut(at)
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    pub(crate) fn push(&mut self, byte: u8) {
        BufferWriter::new(self).put(byte);
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        BufferWriter::new(self).put_all(bytes);
    }

    /// Reserves space for `count` bytes, unless that exceeds the limit.
    fn grow(&mut self, count: usize) -> bool {
        let wanted = count.saturating_add(GROWTH);
        if self.out.len().saturating_add(count) > self.limit {
            self.overflow.get_or_insert(Overflow::TooLarge);
        } else if self.out.try_reserve(wanted).is_err() {
            self.overflow.get_or_insert(Overflow::OutOfMemory);
        }
        self.overflow.is_none()
    }
}

/// Appends pieces to the end of a buffer. Pieces for which there is no space are discarded.
///
/// Invariant: from `at` to `end` lies spare capacity of the buffer, and all bytes from its end to
/// `at` are initialized.
pub(crate) struct BufferWriter<'a, 'b> {
    buffer: &'a mut BoundedBuffer<'b>,
    at: *mut u8,
    end: *mut u8,
}

impl<'a, 'b> BufferWriter<'a, 'b> {
    #[inline]
    pub(crate) fn new(buffer: &'a mut BoundedBuffer<'b>) -> Self {
        let spare = buffer.out.spare_capacity_mut().as_mut_ptr_range();
        Self {
            at: spare.start.cast(),
            end: spare.end.cast(),
            buffer,
        }
    }

    #[inline]
    pub(crate) fn put(&mut self, byte: u8) {
        if !self.reserve(1) {
            return;
        }
        // SAFETY: there is space for one byte.
        unsafe {
            self.at.write(byte);
            self.at = self.at.add(1);
        }
    }

    /// Appends at most [`SHORT_PIECE`] bytes: two moves, which overlap, are faster than a call of
    /// `memcpy`. More are appended as well.
    #[inline]
    pub(crate) fn put_short(&mut self, bytes: &[u8]) {
        match bytes.len() {
            16..=SHORT_PIECE => self.put_ends::<16>(bytes),
            8..16 => self.put_ends::<8>(bytes),
            4..8 => self.put_ends::<4>(bytes),
            2..4 => self.put_ends::<2>(bytes),
            _ => self.put_all(bytes),
        }
    }

    /// Appends bytes that are its first and its last `N`.
    #[inline]
    fn put_ends<const N: usize>(&mut self, bytes: &[u8]) {
        let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
            return self.put_all(bytes);
        };
        if bytes.len() > 2 * N {
            return self.put_all(bytes);
        }
        if !self.reserve(bytes.len()) {
            return;
        }
        // SAFETY: there is space for all bytes. There are from `N` to `2 * N`, so both moves stay
        // within it and leave no gap.
        unsafe {
            let after = self.at.add(bytes.len());
            self.at.cast::<[u8; N]>().write_unaligned(*first);
            after.sub(N).cast::<[u8; N]>().write_unaligned(*last);
            self.at = after;
        }
    }

    /// Appends the first `len` bytes of a block: one move, whatever the length.
    #[inline]
    pub(crate) fn put_block<const N: usize>(&mut self, block: &[u8; N], len: usize) {
        if !self.reserve(N) {
            return;
        }
        // SAFETY: there is space for the whole block, and at most `N` bytes of it count as written.
        unsafe {
            self.at.cast::<[u8; N]>().write_unaligned(*block);
            self.at = self.at.add(len.min(N));
        }
    }

    /// The length of the buffer.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.at as usize) - (self.buffer.out.as_ptr() as usize)
    }

    /// What was appended since the buffer was `start` long.
    pub(crate) fn written_since(&mut self, start: usize) -> &[u8] {
        self.commit();
        &self.buffer.out[start..]
    }

    pub(crate) fn put_all(&mut self, bytes: &[u8]) {
        if !self.reserve(bytes.len()) {
            return;
        }
        // SAFETY: there is space for all bytes, and nothing else refers to that memory.
        unsafe {
            self.at
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.at = self.at.add(bytes.len());
        }
    }

    /// Whether there is space for so many bytes. There mostly is.
    #[inline]
    fn reserve(&mut self, count: usize) -> bool {
        (self.end as usize) - (self.at as usize) >= count || self.grow(count)
    }

    #[cold]
    fn grow(&mut self, count: usize) -> bool {
        self.commit();
        let grown = self.buffer.grow(count);
        let spare = self.buffer.out.spare_capacity_mut().as_mut_ptr_range();
        (self.at, self.end) = (spare.start.cast(), spare.end.cast());
        grown
    }

    #[inline]
    fn commit(&mut self) {
        let len = self.len();
        // SAFETY: the bytes up to `at` are initialized, and `at` is within the capacity.
        unsafe { self.buffer.out.set_len(len) };
    }
}

impl Drop for BufferWriter<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        self.commit();
    }
}
