//! Appending many short pieces to a buffer, whose length is written back once.

/// The longest piece of [`Room::put_short`].
pub(crate) const SHORT: usize = 32;

/// What is asked for beyond what is needed.
const GROWTH: usize = 256;

/// The end of a buffer, while pieces are appended.
///
/// Invariant: from `at` to `end` lies spare capacity of `out`, and all bytes from the end of `out`
/// to `at` are initialized.
pub(crate) struct Room<'a> {
    out: &'a mut Vec<u8>,
    at: *mut u8,
    end: *mut u8,
}

impl<'a> Room<'a> {
    #[inline]
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        let spare = out.spare_capacity_mut().as_mut_ptr_range();
        Self {
            at: spare.start.cast(),
            end: spare.end.cast(),
            out,
        }
    }

    #[inline]
    pub(crate) fn put(&mut self, byte: u8) {
        self.reserve(1);
        // SAFETY: there is room for one byte.
        unsafe {
            self.at.write(byte);
            self.at = self.at.add(1);
        }
    }

    /// Appends at most [`SHORT`] bytes: two moves, which overlap, are faster than a call of
    /// `memcpy`. More are appended as well.
    #[inline]
    pub(crate) fn put_short(&mut self, bytes: &[u8]) {
        match bytes.len() {
            16..=SHORT => self.put_ends::<16>(bytes),
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
        self.reserve(bytes.len());
        // SAFETY: there is room for all bytes. There are from `N` to `2 * N`, so both moves stay
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
        self.reserve(N);
        // SAFETY: there is room for the whole block, and no more of it is taken than was written.
        unsafe {
            self.at.cast::<[u8; N]>().write_unaligned(*block);
            self.at = self.at.add(len.min(N));
        }
    }

    /// The length of the buffer.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.at as usize) - (self.out.as_ptr() as usize)
    }

    /// What was appended since the buffer was `start` long.
    pub(crate) fn written_since(&mut self, start: usize) -> &[u8] {
        self.commit();
        &self.out[start..]
    }

    pub(crate) fn put_all(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: there is room for all bytes, and nobody else has that memory.
        unsafe {
            self.at
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.at = self.at.add(bytes.len());
        }
    }

    #[inline]
    fn reserve(&mut self, count: usize) {
        if (self.end as usize) - (self.at as usize) < count {
            self.grow(count);
        }
    }

    #[cold]
    fn grow(&mut self, count: usize) {
        self.commit();
        self.out.reserve(count + GROWTH);
        let spare = self.out.spare_capacity_mut().as_mut_ptr_range();
        (self.at, self.end) = (spare.start.cast(), spare.end.cast());
    }

    #[inline]
    fn commit(&mut self) {
        let len = self.len();
        // SAFETY: the bytes up to `at` are initialized, and `at` is within the capacity.
        unsafe { self.out.set_len(len) };
    }
}

impl Drop for Room<'_> {
    #[inline]
    fn drop(&mut self) {
        self.commit();
    }
}
