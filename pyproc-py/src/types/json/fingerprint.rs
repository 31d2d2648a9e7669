//! Fingerprints of texts, for the caches of str objects.

/// Texts of at most so many bytes have the same fingerprint only if they are equal.
pub(super) const MAX_EXACT: usize = 15;

/// The length of a text and its first 15 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of the first `len` bytes. The bytes behind them do not matter.
    #[inline]
    pub(super) fn of(bytes: &[u8], len: usize) -> Self {
        let first = match bytes.first_chunk::<16>() {
            Some(first) => u128::from_le_bytes(*first),
            None => bytes
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u128::from(*byte)),
        };
        let kept = 8 * len.min(MAX_EXACT);
        Self((first & ((1 << kept) - 1)) | (len as u128) << 120)
    }

    /// Not protected against collisions: who sends texts that collide only makes the cache useless for that connection.
    #[inline]
    pub(super) fn hash(self) -> usize {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let mixed = self.0 as u64 ^ ((self.0 >> 64) as u64).rotate_left(29);
        (mixed.wrapping_mul(FACTOR) >> 40) as usize
    }
}
