//! The str objects of keys that were seen lately: a document repeats them row by row.

use pyo3::prelude::*;

use super::words::Words;
use crate::ffi;

const PLACES: usize = 512;

/// Longer keys are not kept.
const LONGEST: usize = 64;

/// A bounded cache: each key has one place, and the latest one there stays.
pub(crate) struct Keys {
    places: Vec<Option<Key>>,
    /// Values that are short texts have places of their own.
    pub(super) words: Words,
}

struct Key {
    summary: u128,
    /// The key itself, unless the summary says it all.
    text: Option<Box<[u8]>>,
    object: Py<PyAny>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| None).collect(),
            words: Words::new(),
        }
    }

    /// Calls `act` with the str that the first `len` bytes are in UTF-8; what follows them is of no
    /// importance. `act` must not use this cache.
    #[inline]
    pub(crate) fn with<'py, T>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        len: usize,
        act: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
    ) -> PyResult<T> {
        if len > LONGEST {
            return act(&ffi::string(py, &bytes[..len])?);
        }
        let summary = summary(bytes, len);
        let text = (len > 15).then(|| &bytes[..len]);
        let place = &mut self.places[hash(summary) % PLACES];
        let key = match place {
            Some(key) if key.summary == summary && key.text.as_deref() == text => key,
            _ => place.insert(Key {
                summary,
                text: text.map(Into::into),
                object: ffi::string(py, &bytes[..len])?.unbind(),
            }),
        };
        act(key.object.bind(py))
    }
}

/// The length, and as many bytes as there is room for: of short keys, all.
#[inline]
pub(super) fn summary(bytes: &[u8], len: usize) -> u128 {
    let first = match bytes.first_chunk::<16>() {
        Some(first) => u128::from_le_bytes(*first),
        None => bytes
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u128::from(*byte)),
    };
    let kept = 8 * len.min(15);
    (first & ((1 << kept) - 1)) | (len as u128) << 120
}

/// Who sends keys that collide only makes the cache useless to itself.
#[inline]
pub(super) fn hash(summary: u128) -> usize {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = summary as u64 ^ ((summary >> 64) as u64).rotate_left(29);
    (mixed.wrapping_mul(FACTOR) >> 40) as usize
}
