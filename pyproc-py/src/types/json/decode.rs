//! Reads JSON as Python's `json` does, without its extensions: NaN, infinities and lone
//! surrogates are errors.

use std::ops::Range;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt};
use pyproc_protocol::json::{Number, Reader, Refused};

use super::key_cache::KeyCache;
use crate::ffi;

/// Levels of arrays and objects. The pure loop reads about as many.
const MAX_DEPTH: usize = 1000;

/// The document is no JSON, or it is nested deeply, has a lone surrogate or an integer of too many digits. Python's own
/// reader decides which, and raises the error that says what is wrong.
pub(crate) struct NotDecoded;

impl From<Refused> for NotDecoded {
    fn from(_: Refused) -> Self {
        Self
    }
}

impl From<PyErr> for NotDecoded {
    fn from(_: PyErr) -> Self {
        Self
    }
}

type Result<T> = std::result::Result<T, NotDecoded>;

/// Reads one document.
pub(crate) struct Decoder<'a, 'py> {
    py: Python<'py>,
    json: &'a [u8],
    reader: Reader<'a>,
    keys: &'a mut KeyCache,
    /// The items of all arrays that are not complete; those of the innermost array are last.
    items: Vec<Bound<'py, PyAny>>,
}

impl<'a, 'py> Decoder<'a, 'py> {
    /// The value that `json` is.
    pub(crate) fn decode(
        py: Python<'py>,
        json: &'a [u8],
        keys: &'a mut KeyCache,
    ) -> Result<Bound<'py, PyAny>> {
        let mut decoder = Self {
            py,
            json,
            reader: Reader::new(json, MAX_DEPTH),
            keys,
            items: Vec::new(),
        };
        let value = decoder.value()?;
        if decoder.reader.is_at_end() {
            Ok(value)
        } else {
            Err(NotDecoded)
        }
    }

    fn value(&mut self) -> Result<Bound<'py, PyAny>> {
        match self.reader.peek()? {
            b'"' => self.string(),
            b'{' => self.object(),
            b'[' => self.array(),
            b't' => self.word("true", |py| PyBool::new(py, true).to_owned().into_any()),
            b'f' => self.word("false", |py| PyBool::new(py, false).to_owned().into_any()),
            b'n' => self.word("null", |py| py.None().into_bound(py)),
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Result<Bound<'py, PyAny>> {
        let object = PyDict::new(self.py);
        self.reader.open()?;
        let mut is_first = true;
        while self.reader.has_more(is_first, b'}')? {
            is_first = false;
            let key = self.key()?;
            let value = self.value()?;
            match key {
                Key::Plain(content) => {
                    let (len, rest) = (content.len(), &self.json[content.start..]);
                    self.keys.with(self.py, rest, len, |key| {
                        ffi::set_item(&object, key, &value)
                    })?;
                }
                Key::Escaped(key) => ffi::set_item(&object, &key, &value)?,
            }
        }
        self.reader.close(b'}')?;
        Ok(object.into_any())
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<Key<'py>> {
        if self.reader.peek()? != b'"' {
            return Err(NotDecoded);
        }
        let key = match self.reader.string()? {
            Some(content) => Key::Plain(content),
            None => Key::Escaped(self.unescaped()?),
        };
        self.reader.take(b':')?;
        Ok(key)
    }

    fn array(&mut self) -> Result<Bound<'py, PyAny>> {
        self.reader.open()?;
        let start = self.items.len();
        let mut is_first = true;
        while self.reader.has_more(is_first, b']')? {
            is_first = false;
            let item = self.value()?;
            self.items.try_reserve(1).map_err(|_| NotDecoded)?; // Python's reader raises `MemoryError`
            self.items.push(item);
        }
        self.reader.close(b']')?;
        Ok(ffi::list(self.py, &mut self.items, start)?)
    }

    fn string(&mut self) -> Result<Bound<'py, PyAny>> {
        match self.reader.string()? {
            Some(content) => {
                let (len, rest) = (content.len(), &self.json[content.start..]);
                Ok(self.keys.texts.get(self.py, rest, len)?)
            }
            None => self.unescaped(),
        }
    }

    #[cold]
    fn unescaped(&self) -> Result<Bound<'py, PyAny>> {
        Ok(ffi::string(self.py, self.reader.unescaped())?)
    }

    fn number(&mut self) -> Result<Bound<'py, PyAny>> {
        match self.reader.number()? {
            Number::Float(value) => Ok(PyFloat::new(self.py, value).into_any()),
            Number::Large(digits) => self.large_integer(digits),
            Number::Integer {
                is_negative,
                magnitude,
            } => match i64::try_from(magnitude) {
                Ok(value) => {
                    let value = if is_negative { -value } else { value };
                    Ok(value.into_bound_py_any(self.py)?)
                }
                Err(_) => {
                    let sign = if is_negative { "-" } else { "" };
                    self.large_integer(&format!("{sign}{magnitude}"))
                }
            },
        }
    }

    /// Python converts the integer, which has a limit of digits.
    #[cold]
    fn large_integer(&self, digits: &str) -> Result<Bound<'py, PyAny>> {
        Ok(self.py.get_type::<PyInt>().call1((digits,))?)
    }

    fn word(
        &mut self,
        word: &'static str,
        object: fn(Python<'py>) -> Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>> {
        self.reader.word(word)?;
        Ok(object(self.py))
    }
}

/// A key. Its str is looked up in the cache after its value has been read, so that no reference to it is needed.
enum Key<'py> {
    Plain(Range<usize>),
    Escaped(Bound<'py, PyAny>),
}
