//! Writes the values that hold no others, and the keys before them, as JSON. No Python code runs here.

use pyo3::Borrowed;
use pyo3::types::PyString;
use pyproc_protocol::json::{self, FloatBuffer, ShortDecimal};

use super::encoded_keys::EncodedKeys;
use crate::ffi::{BoundedBuffer, BufferWriter, SHORT_PIECE, Scalar, ScalarSink};

/// Writes scalars and keys to the end of a buffer, each element and each item behind a comma.
pub(super) struct ScalarWriter<'a, 'b> {
    out: BufferWriter<'a, 'b>,
    keys: Option<&'a mut EncodedKeys>,
}

impl<'a, 'b> ScalarWriter<'a, 'b> {
    #[inline]
    pub(super) fn new(out: &'a mut BoundedBuffer<'b>, keys: Option<&'a mut EncodedKeys>) -> Self {
        Self {
            out: BufferWriter::new(out),
            keys,
        }
    }

    #[inline]
    pub(super) fn write(&mut self, scalar: Scalar<'_>) {
        let out = &mut self.out;
        match scalar {
            Scalar::Text(value) => text(value, out),
            Scalar::Integer(value) => integer(value, out),
            Scalar::Float(value) => float(value, out),
            Scalar::Boolean(value) => out.put_short(if value { b"true" } else { b"false" }),
            Scalar::None => out.put_short(b"null"),
        }
    }
}

// SAFETY: no method runs Python code: they copy bytes, compare addresses, and at most take a reference.
#[allow(unsafe_code)]
unsafe impl ScalarSink for ScalarWriter<'_, '_> {
    #[inline]
    fn begin_element(&mut self) {
        self.out.put(b',');
    }

    #[inline]
    fn known_key(&mut self, address: usize) -> bool {
        let known = self.keys.as_ref().and_then(|keys| keys.get(address));
        if let Some(key) = known {
            self.out.put_block(&key.json, key.len);
        }
        known.is_some()
    }

    #[inline]
    fn key(&mut self, key: Borrowed<'_, '_, PyString>, value: &str) {
        let start = self.out.len();
        self.out.put(b',');
        text(value, &mut self.out);
        self.out.put(b':');
        if let Some(keys) = &mut self.keys {
            keys.keep(&key, self.out.written_since(start));
        }
    }

    #[inline]
    fn scalar(&mut self, scalar: Scalar<'_>) {
        self.write(scalar);
    }
}

#[inline]
fn text(text: &str, out: &mut BufferWriter<'_, '_>) {
    let bytes = text.as_bytes();
    out.put(b'"');
    if bytes.len() <= SHORT_PIECE && json::is_plain(bytes) {
        out.put_short(bytes);
    } else {
        long_text(bytes, out);
    }
    out.put(b'"');
}

fn long_text(bytes: &[u8], out: &mut BufferWriter<'_, '_>) {
    let mut rest = bytes;
    loop {
        let plain = json::plain(rest);
        out.put_all(&rest[..plain]);
        let Some(special) = rest.get(plain) else {
            break;
        };
        escape(*special, out);
        rest = &rest[plain + 1..];
    }
}

#[inline]
fn integer(number: i64, out: &mut BufferWriter<'_, '_>) {
    out.put_short(itoa::Buffer::new().format(number).as_bytes());
}

/// The number must be finite.
#[inline]
fn float(number: f64, out: &mut BufferWriter<'_, '_>) {
    let Some(short) = ShortDecimal::of(number) else {
        return out.put_short(FloatBuffer::new().format(number).as_bytes());
    };
    if short.is_negative {
        out.put(b'-');
    }
    out.put_short(itoa::Buffer::new().format(short.whole).as_bytes());
    out.put_block(&short.decimals, short.len);
}

fn escape(byte: u8, out: &mut BufferWriter<'_, '_>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.put_short(b"\\\""),
        b'\\' => out.put_short(b"\\\\"),
        b'\n' => out.put_short(b"\\n"),
        b'\r' => out.put_short(b"\\r"),
        b'\t' => out.put_short(b"\\t"),
        0x08 => out.put_short(b"\\b"),
        0x0c => out.put_short(b"\\f"),
        _ => {
            out.put_short(b"\\u00");
            out.put(HEX[usize::from(byte >> 4)]);
            out.put(HEX[usize::from(byte & 15)]);
        }
    }
}
