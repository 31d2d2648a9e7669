//! The str objects of keys that came lately: a document repeats its keys in each row.

use pyo3::prelude::*;

use super::fingerprint::{Fingerprint, MAX_EXACT};
use super::text_cache::TextCache;
use crate::ffi;

const ENTRIES: usize = 512;

/// Longer keys are not kept.
const MAX_LENGTH: usize = 64;

/// A bounded cache: each key has one place, and the latest key with that place is kept.
pub(crate) struct KeyCache {
    entries: Vec<Option<Entry>>,
    /// Values that are short texts have a cache of their own.
    pub(super) texts: TextCache,
}

struct Entry {
    fingerprint: Fingerprint,
    /// The key itself, if the fingerprint does not contain all of it.
    text: Option<Box<[u8]>>,
    object: Py<PyAny>,
}

impl KeyCache {
    pub(crate) fn new() -> Self {
        Self {
            entries: (0..ENTRIES).map(|_| None).collect(),
            texts: TextCache::new(),
        }
    }

    /// Calls `act` with the str of the first `len` bytes, which are UTF-8. The bytes behind them do not matter. `act`
    /// must not use this cache.
    #[inline]
    pub(super) fn with<'py, T>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        len: usize,
        act: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
    ) -> PyResult<T> {
        if len > MAX_LENGTH {
            return act(&ffi::string(py, &bytes[..len])?);
        }
        let fingerprint = Fingerprint::of(bytes, len);
        let text = (len > MAX_EXACT).then(|| &bytes[..len]);
        let entry = &mut self.entries[fingerprint.hash() % ENTRIES];
        let entry = match entry {
            Some(known) if known.fingerprint == fingerprint && known.text.as_deref() == text => {
                known
            }
            _ => entry.insert(Entry {
                fingerprint,
                text: text.map(Into::into),
                object: ffi::string(py, &bytes[..len])?.unbind(),
            }),
        };
        act(entry.object.bind(py))
    }
}
