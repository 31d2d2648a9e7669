//! Keys as they were written before: a result repeats the str objects of its keys in each row.

use pyo3::prelude::*;
use pyo3::types::PyString;

const ENTRIES: usize = 64;

/// Bytes of the longest key that is kept, with quotes, comma and colon.
const MAX_LENGTH: usize = 32;

/// A bounded cache of the keys of one document.
pub(super) struct EncodedKeys {
    entries: Box<[Option<EncodedKey>]>,
}

/// A key in JSON, with its quotes, the comma before it and the colon behind it.
pub(super) struct EncodedKey {
    /// A reference, so that no other object gets its address.
    key: Py<PyString>,
    pub(super) json: [u8; MAX_LENGTH],
    pub(super) len: usize,
}

impl EncodedKeys {
    pub(super) fn new() -> Self {
        Self {
            entries: (0..ENTRIES).map(|_| None).collect(),
        }
    }

    /// The entry of the str object at this address.
    #[inline]
    pub(super) fn get(&self, address: usize) -> Option<&EncodedKey> {
        let entry = self.entries[index_of(address)].as_ref()?;
        (entry.key.as_ptr() as usize == address).then_some(entry)
    }

    /// Keeps the JSON of a key, unless it is too long.
    pub(super) fn keep(&mut self, key: &Bound<'_, PyString>, json: &[u8]) {
        let mut padded = [0; MAX_LENGTH];
        if let Some(start) = padded.get_mut(..json.len()) {
            start.copy_from_slice(json);
            self.entries[index_of(key.as_ptr() as usize)] = Some(EncodedKey {
                key: key.clone().unbind(),
                json: padded,
                len: json.len(),
            });
        }
    }
}

/// Objects begin at multiples of 16.
#[inline]
fn index_of(address: usize) -> usize {
    (address >> 4 ^ address >> 10) % ENTRIES
}
