//! The str objects of short texts that come again and again: states, currencies, tags.

use pyo3::prelude::*;

use super::keys::{hash, summary};
use crate::ffi;

const PLACES: usize = 512;

/// Longer texts are not kept: their summary does not say all of them.
const LONGEST: usize = 15;

/// A bounded cache: each text has one place, and the latest one there stays. It is kept when it comes a second
/// time, so that texts that come once cost little.
pub(crate) struct Words {
    places: Vec<Word>,
}

#[derive(Default)]
struct Word {
    summary: u128,
    object: Option<Py<PyAny>>,
}

impl Words {
    pub(crate) fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| Word::default()).collect(),
        }
    }

    /// The str that the first `len` bytes are in UTF-8; what follows them is of no importance.
    #[inline]
    pub(crate) fn get<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        len: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        if len > LONGEST {
            return ffi::string(py, &bytes[..len]);
        }
        let summary = summary(bytes, len);
        let place = &mut self.places[hash(summary) % PLACES];
        let is_known = place.summary == summary;
        if is_known && let Some(object) = &place.object {
            return Ok(object.bind(py).clone());
        }
        let object = ffi::string(py, &bytes[..len])?;
        *place = Word {
            summary,
            object: is_known.then(|| object.clone().unbind()),
        };
        Ok(object)
    }
}
