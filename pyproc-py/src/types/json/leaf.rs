//! The values that hold no others, as JSON. No Python code runs here.

use pyproc_protocol::json::{self, ShortDecimal};

use crate::ffi::{Room, SHORT};

#[inline]
pub(crate) fn text(text: &str, out: &mut Room<'_, '_>) {
    let bytes = text.as_bytes();
    out.put(b'"');
    if bytes.len() <= SHORT && json::is_plain(bytes) {
        out.put_short(bytes);
    } else {
        long_text(bytes, out);
    }
    out.put(b'"');
}

fn long_text(bytes: &[u8], out: &mut Room<'_, '_>) {
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
pub(crate) fn integer(number: i64, out: &mut Room<'_, '_>) {
    out.put_short(itoa::Buffer::new().format(number).as_bytes());
}

/// Only of finite numbers.
#[inline]
pub(crate) fn float(number: f64, out: &mut Room<'_, '_>) {
    let Some(short) = ShortDecimal::of(number) else {
        return out.put_short(zmij::Buffer::new().format_finite(number).as_bytes());
    };
    if short.is_negative {
        out.put(b'-');
    }
    out.put_short(itoa::Buffer::new().format(short.whole).as_bytes());
    out.put_block(&short.decimals, short.len);
}

#[inline]
pub(crate) fn boolean(value: bool, out: &mut Room<'_, '_>) {
    out.put_short(if value { b"true" } else { b"false" });
}

#[inline]
pub(crate) fn null(out: &mut Room<'_, '_>) {
    out.put_short(b"null");
}

fn escape(byte: u8, out: &mut Room<'_, '_>) {
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
