//! Writes results as JSON. `_codec.convert` converts other types, one step at a time. What cannot be encoded is left to
//! `_codec.json_codec.encode_bounded`, which says where it is.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyTuple};

use super::encoded_keys::EncodedKeys;
use super::scalars::ScalarWriter;
use crate::ffi::{self, BoundedBuffer, Overflow, Stop};
use crate::package::LazyImport;

/// Levels of lists, dicts and conversions, as in the decoder.
const MAX_DEPTH: usize = 1000;

/// With so many dicts, the result is likely a list of rows, and its keys are kept as they were written.
const ROWS: usize = 4;

/// The package's functions for what is not written here.
static CONVERT: LazyImport = LazyImport::new("pyproc_worker._codec.convert", "convert");
static ENCODE: LazyImport = LazyImport::new("pyproc_worker._codec.json_codec", "encode_bounded");
static TOO_LARGE: LazyImport = LazyImport::new("pyproc_worker._codec.results", "too_large");

/// Appends `value` as JSON, or raises `EncodeError`, also as soon as it is longer than `maximum`
/// bytes, or `MemoryError`; `out` is then as it was.
pub(crate) fn encode(value: &Bound<'_, PyAny>, maximum: usize, out: &mut Vec<u8>) -> PyResult<()> {
    let mut out = BoundedBuffer::new(out, maximum);
    let start = out.len();
    let mut encoder = Encoder {
        out: &mut out,
        maximum,
        keys: None,
        dicts: 0,
    };
    let encoded = encoder.value(value, MAX_DEPTH);
    if encoded.is_ok() && out.overflow().is_none() {
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
    out: &mut BoundedBuffer<'_>,
    py: Python<'_>,
) -> PyResult<()> {
    out.append(bytes);
    check(py, out, maximum)
}

/// Raises the error of an overflow.
fn check(py: Python<'_>, out: &BoundedBuffer<'_>, maximum: usize) -> PyResult<()> {
    match out.overflow() {
        None => Ok(()),
        Some(Overflow::OutOfMemory) => Err(PyMemoryError::new_err("no memory for the result")),
        Some(Overflow::TooLarge) => Err(too_large(py, maximum)),
    }
}

/// The `EncodeError` of a result that does not fit into a frame.
pub(crate) fn too_large(py: Python<'_>, maximum: usize) -> PyErr {
    let error = TOO_LARGE.get(py).and_then(|error| error.call1((maximum,)));
    error.map_or_else(|error| error, PyErr::from_value)
}

/// It cannot be encoded here.
struct Refused;

type Result = std::result::Result<(), Refused>;

struct Encoder<'a, 'b> {
    out: &'a mut BoundedBuffer<'b>,
    maximum: usize,
    /// Used from the fourth dict on.
    keys: Option<EncodedKeys>,
    dicts: usize,
}

impl Encoder<'_, '_> {
    fn value(&mut self, value: &Bound<'_, PyAny>, levels: usize) -> Result {
        match ffi::scalar(value) {
            Some(scalar) => {
                ScalarWriter::new(self.out, None).write(scalar);
                Ok(())
            }
            None => self.container(value, levels),
        }
    }

    /// Writes a value that is no scalar. `levels` more may be opened.
    fn container(&mut self, value: &Bound<'_, PyAny>, levels: usize) -> Result {
        let levels = levels.checked_sub(1).ok_or(Refused)?;
        if self.out.overflow().is_some() {
            return Err(Refused);
        }
        // Subclasses may define other items and another order.
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
            self.keys = Some(EncodedKeys::new());
        }
        let start = self.out.len();
        let mut position = 0;
        loop {
            let mut writer = ScalarWriter::new(self.out, self.keys.as_mut());
            let stop = ffi::lend_items(dict, &mut position, &mut writer);
            drop(writer);
            match stop {
                Stop::Container(value) => self.container(&value, levels)?,
                // Two such keys may become one key. Only a dict that is built anew shows that.
                Stop::Key => return Err(Refused),
                Stop::End => break,
            }
        }
        // Each item follows a comma.
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
        // Conversions may run any Python code, which may shorten the list.
        loop {
            let mut writer = ScalarWriter::new(self.out, None);
            let stop = ffi::lend_elements(list, &mut position, &mut writer);
            drop(writer);
            match stop {
                Stop::Container(value) => self.container(&value, levels)?,
                Stop::Key | Stop::End => break,
            }
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
            // It has more than 64 bits, and Python has a limit of digits.
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
