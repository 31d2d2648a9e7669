//! Writes results as JSON. What has no form of its own becomes one by `_convert`, step by step;
//! what cannot be carried is left to `_codec.encode_plain`, which says where it is.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyTuple};

use super::Labels;
use crate::ffi::{self, Met};
use crate::lazy::Lazy;

/// Levels of lists, dicts and conversions, as in the decoder.
const DEEPEST: usize = 1000;

/// Dicts from which on their keys' JSON is kept.
const ROWS: usize = 4;

/// The package's functions for what is not written here.
static CONVERT: Lazy = Lazy::new("pyproc_worker._convert", "convert");
static ENCODE_PLAIN: Lazy = Lazy::new("pyproc_worker._codec", "encode_plain");

/// Appends `value` as JSON to `out`, or raises `EncodeError` and leaves `out` as it was.
pub(crate) fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let start = out.len();
    let mut encoder = Encoder {
        out,
        labels: None,
        dicts: 0,
    };
    if encoder.value(value, DEEPEST).is_ok() {
        return Ok(());
    }
    out.truncate(start);
    let encoded = ENCODE_PLAIN.get(value.py())?.call1((value,))?;
    out.extend_from_slice(encoded.cast::<PyBytes>()?.as_bytes());
    Ok(())
}

/// It could not be written here.
struct Refused;

type Result = std::result::Result<(), Refused>;

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    /// Kept once there are some dicts: then they are likely rows.
    labels: Option<Labels>,
    dicts: usize,
}

impl Encoder<'_> {
    fn value(&mut self, value: &Bound<'_, PyAny>, levels: usize) -> Result {
        if ffi::write_leaf(value, self.out) {
            return Ok(());
        }
        self.container(value, levels)
    }

    /// What is no leaf. `levels` more may be opened.
    fn container(&mut self, value: &Bound<'_, PyAny>, levels: usize) -> Result {
        let levels = levels.checked_sub(1).ok_or(Refused)?;
        // Exact types are told by one comparison, all others by a call.
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict, levels)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.list(list, levels)
        } else if let Ok(dict) = value.cast::<PyDict>() {
            self.dict(dict, levels)
        } else if let Ok(list) = value.cast::<PyList>() {
            self.list(list, levels)
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            self.tuple(tuple, levels)
        } else {
            self.other(value, levels)
        }
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>, levels: usize) -> Result {
        self.dicts += 1;
        if self.dicts == ROWS {
            self.labels = Some(Labels::new());
        }
        let start = self.out.len();
        let mut position = 0;
        loop {
            match ffi::write_items(dict, &mut position, self.labels.as_mut(), self.out) {
                Met::Value(value) => self.container(&value, levels)?,
                // Two such keys may become one: only a dict that is built anew tells.
                Met::Key => return Err(Refused),
                Met::End => break,
            }
        }
        // Each item is behind a comma.
        match self.out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
        Ok(())
    }

    fn list(&mut self, list: &Bound<'_, PyList>, levels: usize) -> Result {
        let start = self.out.len();
        let mut position = 0;
        // Conversions may run any code, which may shorten the list.
        while let Met::Value(value) = ffi::write_elements(list, &mut position, self.out) {
            self.container(&value, levels)?;
        }
        match self.out.get_mut(start) {
            Some(comma) => *comma = b'[',
            None => self.out.push(b'['),
        }
        self.out.push(b']');
        Ok(())
    }

    fn tuple(&mut self, tuple: &Bound<'_, PyTuple>, levels: usize) -> Result {
        self.out.push(b'[');
        for (position, item) in tuple.iter_borrowed().enumerate() {
            if position > 0 {
                self.out.push(b',');
            }
            self.value(&item, levels)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn other(&mut self, value: &Bound<'_, PyAny>, levels: usize) -> Result {
        if value.is_exact_instance_of::<PyInt>() {
            // It is longer than 64 bits, and Python has a limit of digits.
            let text = value.str().map_err(|_| Refused)?;
            self.out
                .extend_from_slice(ffi::utf8(&text).ok_or(Refused)?.as_bytes());
            return Ok(());
        }
        let convert = CONVERT.get(value.py()).map_err(|_| Refused)?;
        let converted = ffi::call(convert, value).map_err(|_| Refused)?;
        self.value(&converted, levels)
    }
}
