//! The str objects of short texts that documents repeat: states, currencies, tags.

use pyo3::prelude::*;

use super::fingerprint::{Fingerprint, MAX_EXACT};
use crate::ffi;

const ENTRIES: usize = 512;

/// A bounded cache: each text has one place, and the latest text with that place is kept. A text is kept when it comes
/// for the second time in a row, so that texts that come once cost little.
pub(super) struct TextCache {
    entries: Vec<Entry>,
}

#[derive(Default)]
struct Entry {
    fingerprint: Fingerprint,
    object: Option<Py<PyAny>>,
}

impl TextCache {
    pub(super) fn new() -> Self {
        Self {
            entries: (0..ENTRIES).map(|_| Entry::default()).collect(),
        }
    }

    /// The str of the first `len` bytes, which are UTF-8. The bytes behind them do not matter.
    #[inline]
    pub(super) fn get<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        len: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        if len > MAX_EXACT {
            return ffi::string(py, &bytes[..len]);
        }
        let fingerprint = Fingerprint::of(bytes, len);
        let entry = &mut self.entries[fingerprint.hash() % ENTRIES];
        let is_known = entry.fingerprint == fingerprint;
        if is_known && let Some(object) = &entry.object {
            return Ok(object.bind(py).clone());
        }
        let object = ffi::string(py, &bytes[..len])?;
        *entry = Entry {
            fingerprint,
            object: is_known.then(|| object.clone().unbind()),
        };
        Ok(object)
    }
}
