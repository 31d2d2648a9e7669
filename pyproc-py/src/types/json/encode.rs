//! Writes results as JSON. What has no form of its own becomes one by `_convert`, step by step;
//! what cannot be carried is left to `_codec.encode_bounded`, which says where it is.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyTuple};

use super::Labels;
use crate::ffi::{self, Bounded, Full, Met};
use crate::package::Lazy;

/// Levels of lists, dicts and conversions, as in the decoder.
const DEEPEST: usize = 1000;

/// Dicts from which on their keys' JSON is kept.
const ROWS: usize = 4;

/// The package's functions for what is not written here.
static CONVERT: Lazy = Lazy::new("pyproc_worker._convert", "convert");
static ENCODE: Lazy = Lazy::new("pyproc_worker._codec", "encode_bounded");
static TOO_LARGE: Lazy = Lazy::new("pyproc_worker._plain", "too_large");

/// Appends `value` as JSON, or raises `EncodeError`, also as soon as it is longer than `maximum`
/// bytes, or `MemoryError`; `out` is then as it was.
pub(crate) fn encode(value: &Bound<'_, PyAny>, maximum: usize, out: &mut Vec<u8>) -> PyResult<()> {
    let mut out = Bounded::new(out, maximum);
    let start = out.len();
    let mut encoder = Encoder {
        out: &mut out,
        maximum,
        labels: None,
        dicts: 0,
    };
    let written = encoder.value(value, DEEPEST);
    if written.is_ok() && out.full().is_none() {
        return Ok(());
    }
    out.truncate(start);
    check(value.py(), &out, maximum)?;
    let encoded = ENCODE.get(value.py())?.call1((value, maximum))?;
    append(
        encoded.cast::<PyBytes>()?.as_bytes(),
        maximum,
        &mut out,
        value.py(),
    )
}

/// Appends what is written already. Raises as `encode` does.
pub(crate) fn append(
    bytes: &[u8],
    maximum: usize,
    out: &mut Bounded<'_>,
    py: Python<'_>,
) -> PyResult<()> {
    out.append(bytes);
    check(py, out, maximum)
}

/// Raises what it means that a buffer is full.
fn check(py: Python<'_>, out: &Bounded<'_>, maximum: usize) -> PyResult<()> {
    match out.full() {
        None => Ok(()),
        Some(Full::OutOfMemory) => Err(PyMemoryError::new_err("no memory for the result")),
        Some(Full::TooLarge) => Err(too_large(py, maximum)),
    }
}

/// The `EncodeError` of a result that does not fit into a frame.
pub(crate) fn too_large(py: Python<'_>, maximum: usize) -> PyErr {
    let error = TOO_LARGE.get(py).and_then(|error| error.call1((maximum,)));
    error.map_or_else(|error| error, PyErr::from_value)
}

/// It could not be written here.
struct Refused;

type Result = std::result::Result<(), Refused>;

struct Encoder<'a, 'b> {
    out: &'a mut Bounded<'b>,
    maximum: usize,
    /// Kept once there are some dicts: then they are likely rows.
    labels: Option<Labels>,
    dicts: usize,
}

impl Encoder<'_, '_> {
    fn value(&mut self, value: &Bound<'_, PyAny>, levels: usize) -> Result {
        if ffi::write_leaf(value, self.out) {
            return Ok(());
        }
        self.container(value, levels)
    }

    /// What is no leaf. `levels` more may be opened.
    fn container(&mut self, value: &Bound<'_, PyAny>, levels: usize) -> Result {
        let levels = levels.checked_sub(1).ok_or(Refused)?;
        if self.out.full().is_some() {
            return Err(Refused);
        }
        // Subclasses may have items of their own, in an order of their own.
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict, levels)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.list(list, levels)
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
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
            self.out.append(ffi::utf8(&text).ok_or(Refused)?.as_bytes());
            return Ok(());
        }
        let converted = self.convert(value).map_err(|_| Refused)?;
        self.value(&converted, levels)
    }

    fn convert<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let maximum = self.maximum.into_bound_py_any(value.py())?;
        ffi::call_with(CONVERT.get(value.py())?, [value, &maximum])
    }
}
