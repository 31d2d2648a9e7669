//! Reads JSON as Python's own `json` does, but for its extensions: NaN, infinities and lone
//! surrogates are refused.

use std::str;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList};

use super::{decimal::Decimal, keys::Keys, scan};
use crate::ffi;

/// Levels of arrays and objects; the pure loop reads about as many.
const DEEPEST: usize = 1000;

/// Digits of integers that are certain to fit into 64 bits.
const CERTAIN_DIGITS: usize = 18;

/// The document is no JSON, or one for Python's own reader: nested deeply, with a lone surrogate or
/// an integer of too many digits. That reader also knows how to tell what is wrong.
pub(crate) struct Odd;

impl From<PyErr> for Odd {
    fn from(_: PyErr) -> Self {
        Self
    }
}

type Result<T> = std::result::Result<T, Odd>;

/// Reads one document.
pub(crate) struct Decoder<'a, 'py> {
    py: Python<'py>,
    json: &'a [u8],
    offset: usize,
    keys: &'a mut Keys,
    /// The items of the arrays that are not complete, the innermost one's last.
    items: Vec<Bound<'py, PyAny>>,
    text: Vec<u8>,
}

impl<'a, 'py> Decoder<'a, 'py> {
    /// The value that `json` is.
    pub(crate) fn decode(
        py: Python<'py>,
        json: &'a [u8],
        keys: &'a mut Keys,
    ) -> Result<Bound<'py, PyAny>> {
        let mut decoder = Self {
            py,
            json,
            offset: 0,
            keys,
            items: Vec::new(),
            text: Vec::new(),
        };
        let value = decoder.value(DEEPEST)?;
        match decoder.next_token() {
            None => Ok(value),
            Some(_) => Err(Odd),
        }
    }

    /// `levels` more may be opened.
    fn value(&mut self, levels: usize) -> Result<Bound<'py, PyAny>> {
        match self.next_token() {
            Some(b'"') => {
                self.offset += 1;
                self.string()
            }
            Some(b'{') => self.object(levels),
            Some(b'[') => self.array(levels),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", |py| PyBool::new(py, true).to_owned().into_any()),
            Some(b'f') => self.word(b"false", |py| PyBool::new(py, false).to_owned().into_any()),
            Some(b'n') => self.word(b"null", |py| py.None().into_bound(py)),
            _ => Err(Odd),
        }
    }

    fn object(&mut self, levels: usize) -> Result<Bound<'py, PyAny>> {
        let levels = levels.checked_sub(1).ok_or(Odd)?;
        let object = PyDict::new(self.py);
        self.offset += 1;
        if self.next_token() == Some(b'}') {
            self.offset += 1;
            return Ok(object.into_any());
        }
        loop {
            let key = self.key()?;
            let value = self.value(levels)?;
            match key {
                Key::Plain { start, len } => {
                    let rest = &self.json[start..];
                    self.keys.with(self.py, rest, len, |key| {
                        ffi::set_item(&object, key, &value)
                    })?;
                }
                Key::Escaped(key) => ffi::set_item(&object, &key, &value)?,
            }
            match self.next_token() {
                Some(b',') => self.offset += 1,
                Some(b'}') => break,
                _ => return Err(Odd),
            }
        }
        self.offset += 1;
        Ok(object.into_any())
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<Key<'py>> {
        if self.next_token() != Some(b'"') {
            return Err(Odd);
        }
        self.offset += 1;
        let start = self.offset;
        let rest = &self.json[start..];
        let len = scan::plain(rest);
        let key = if rest.get(len) == Some(&b'"') {
            self.offset += len + 1;
            Key::Plain { start, len }
        } else {
            Key::Escaped(self.string()?)
        };
        if self.next_token() != Some(b':') {
            return Err(Odd);
        }
        self.offset += 1;
        Ok(key)
    }

    fn array(&mut self, levels: usize) -> Result<Bound<'py, PyAny>> {
        let levels = levels.checked_sub(1).ok_or(Odd)?;
        self.offset += 1;
        if self.next_token() == Some(b']') {
            self.offset += 1;
            return Ok(PyList::empty(self.py).into_any());
        }
        let start = self.items.len();
        loop {
            let item = self.value(levels)?;
            self.items.push(item);
            match self.next_token() {
                Some(b',') => self.offset += 1,
                Some(b']') => break,
                _ => return Err(Odd),
            }
        }
        self.offset += 1;
        Ok(ffi::list(self.py, &mut self.items, start)?)
    }

    /// The rest of a string whose quote was taken.
    fn string(&mut self) -> Result<Bound<'py, PyAny>> {
        let rest = &self.json[self.offset..];
        let len = scan::plain(rest);
        if rest.get(len) == Some(&b'"') {
            self.offset += len + 1;
            return Ok(ffi::string(self.py, &rest[..len])?);
        }
        self.text.clear();
        loop {
            let rest = &self.json[self.offset..];
            let len = scan::plain(rest);
            self.text.extend_from_slice(&rest[..len]);
            self.offset += len + 1;
            match rest.get(len) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(Odd),
            }
        }
        Ok(ffi::string(self.py, &self.text)?)
    }

    fn escape(&mut self) -> Result<()> {
        let byte = match self.json.get(self.offset) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(Odd),
        };
        self.text.push(byte);
        self.offset += 1;
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<()> {
        let first = self.four_digits()?;
        let code = match first {
            0xD800..=0xDBFF if self.json[self.offset..].starts_with(b"\\u") => {
                self.offset += 1;
                match self.four_digits()? {
                    second @ 0xDC00..=0xDFFF => {
                        0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                    }
                    _ => return Err(Odd),
                }
            }
            code => code,
        };
        let character = char::from_u32(code).ok_or(Odd)?;
        let mut utf8 = [0; 4];
        self.text
            .extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        Ok(())
    }

    /// Takes `u` and the digits behind it.
    fn four_digits(&mut self) -> Result<u32> {
        let digits = self.json.get(self.offset + 1..self.offset + 5);
        let mut code = 0;
        for digit in digits.ok_or(Odd)? {
            let value = char::from(*digit).to_digit(16);
            code = code * 16 + value.ok_or(Odd)?;
        }
        self.offset += 5;
        Ok(code)
    }

    fn number(&mut self) -> Result<Bound<'py, PyAny>> {
        let start = self.offset;
        let is_negative = self.skip_if(|byte| byte == b'-');
        let first_digit = self.offset;
        let (whole, digits) = self.digits(0)?;
        if self.json[first_digit] == b'0' && digits > 1 {
            return Err(Odd);
        }
        match self.json.get(self.offset) {
            Some(b'.') => {
                self.offset += 1;
                let (all, decimals) = self.digits(whole)?;
                if self.exponent()? || digits + decimals > CERTAIN_DIGITS {
                    return self.float(start);
                }
                let decimal = Decimal { all, decimals };
                match decimal.exact() {
                    Some(value) => {
                        let value = if is_negative { -value } else { value };
                        Ok(PyFloat::new(self.py, value).into_any())
                    }
                    None => self.float(start),
                }
            }
            Some(b'e' | b'E') => {
                self.exponent()?;
                self.float(start)
            }
            _ if digits > CERTAIN_DIGITS => self.large_integer(start),
            _ => {
                let value = whole.cast_signed();
                let value = if is_negative { -value } else { value };
                Ok(value.into_bound_py_any(self.py)?)
            }
        }
    }

    /// Takes an exponent: whether there is one.
    fn exponent(&mut self) -> Result<bool> {
        let has_exponent = self.skip_if(|byte| byte == b'e' || byte == b'E');
        if has_exponent {
            self.skip_if(|byte| byte == b'+' || byte == b'-');
            self.digits(0)?;
        }
        Ok(has_exponent)
    }

    /// Takes at least one digit: `value` continued by them, which is right up to 19 digits in all,
    /// and how many there are.
    #[inline]
    fn digits(&mut self, mut value: u64) -> Result<(u64, usize)> {
        let rest = &self.json[self.offset..];
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = rest.get(count) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            count += 1;
        }
        if count == 0 {
            return Err(Odd);
        }
        self.offset += count;
        Ok((value, count))
    }

    /// The number from `start` on, by the standard library.
    fn float(&self, start: usize) -> Result<Bound<'py, PyAny>> {
        let text = &self.json[start..self.offset];
        let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        let number: f64 = number.ok_or(Odd)?;
        Ok(PyFloat::new(self.py, number).into_any())
    }

    /// The number from `start` on, by Python, which has a limit of digits.
    fn large_integer(&self, start: usize) -> Result<Bound<'py, PyAny>> {
        let text = ffi::string(self.py, &self.json[start..self.offset])?;
        Ok(self.py.get_type::<PyInt>().call1((text,))?)
    }

    fn word(
        &mut self,
        word: &'static [u8],
        object: fn(Python<'py>) -> Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>> {
        if !self.json[self.offset..].starts_with(word) {
            return Err(Odd);
        }
        self.offset += word.len();
        Ok(object(self.py))
    }

    /// The byte that the next token begins with, which is not taken.
    #[inline]
    fn next_token(&mut self) -> Option<u8> {
        match self.json.get(self.offset) {
            Some(byte) if *byte > b' ' => Some(*byte),
            _ => self.token_after_space(),
        }
    }

    #[cold]
    fn token_after_space(&mut self) -> Option<u8> {
        loop {
            match self.json.get(self.offset) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.offset += 1,
                other => return other.copied(),
            }
        }
    }

    fn skip_if(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let found = self.json.get(self.offset).is_some_and(|byte| wanted(*byte));
        self.offset += usize::from(found);
        found
    }
}

/// A key, whose str is looked up when its value is there, and so need not be held.
enum Key<'py> {
    Plain { start: usize, len: usize },
    Escaped(Bound<'py, PyAny>),
}
