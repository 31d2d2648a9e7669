//! Keys as they were written: a result repeats the str objects of its keys row by row.

use pyo3::prelude::*;
use pyo3::types::PyString;

const PLACES: usize = 64;

/// Bytes of the longest label.
pub(crate) const LONGEST: usize = 32;

/// A bounded cache of one document's keys, each with its quotes, the comma before it and the colon
/// behind it.
pub(crate) struct Labels {
    places: Box<[Option<Label>]>,
}

/// A key's JSON.
pub(crate) struct Label {
    /// It is kept, so that no other object gets its address.
    key: Py<PyString>,
    pub(crate) json: [u8; LONGEST],
    pub(crate) len: usize,
}

impl Labels {
    pub(crate) fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| None).collect(),
        }
    }

    /// What was kept of a key: of this very object.
    #[inline]
    pub(crate) fn get(&self, key: usize) -> Option<&Label> {
        let label = self.places[place_of(key)].as_ref()?;
        (label.key.as_ptr() as usize == key).then_some(label)
    }

    /// Keeps what a key was written as, unless it is too long.
    pub(crate) fn keep(&mut self, key: &Bound<'_, PyString>, json: &[u8]) {
        let mut padded = [0; LONGEST];
        if let Some(room) = padded.get_mut(..json.len()) {
            room.copy_from_slice(json);
            self.places[place_of(key.as_ptr() as usize)] = Some(Label {
                key: key.clone().unbind(),
                json: padded,
                len: json.len(),
            });
        }
    }
}

/// Objects begin at multiples of 16.
#[inline]
fn place_of(key: usize) -> usize {
    (key >> 4 ^ key >> 10) % PLACES
}
