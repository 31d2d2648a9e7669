//! Encodes strings.

use super::scan::{plain, special_in};

/// Appends a text as a JSON string.
#[inline]
pub(super) fn write(text: &str, out: &mut Vec<u8>) {
    match Word::of(text.as_bytes()) {
        Some(word) => word.append_to(out),
        None => write_long(text.as_bytes(), out),
    }
}

/// Appends a text as the key of an object, with a comma before it and a colon after it.
#[inline]
pub(super) fn write_key(text: &str, out: &mut Vec<u8>) {
    out.push(b',');
    write(text, out);
    out.push(b':');
}

/// A string of a few bytes. It is appended as one word, whatever its length: faster than a call of `memcpy`.
struct Word {
    /// Little-endian.
    bytes: u64,
    len: usize,
}

impl Word {
    /// A short text without escapes, with its quotes.
    #[inline]
    fn of(text: &[u8]) -> Option<Self> {
        let len = text.len();
        let bytes = match len {
            1..4 => {
                let last = u64::from(text[len - 1]) << (8 * (len - 1));
                u64::from(text[0]) | u64::from(text[len / 2]) << (8 * (len / 2)) | last
            }
            4..=6 => {
                let first = u32::from_le_bytes(*text.first_chunk()?);
                let last = u32::from_le_bytes(*text.last_chunk()?);
                u64::from(first) | u64::from(last) << (8 * (len - 4))
            }
            _ => return None,
        };
        let padding = u64::MAX << (8 * len);
        let quotes = u64::from(b'"') | u64::from(b'"') << (8 * (len + 1));
        (special_in(bytes | padding) == 0).then_some(Self {
            bytes: bytes << 8 | quotes,
            len: len + 2,
        })
    }

    #[inline]
    fn append_to(self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.truncate(end);
    }
}

#[inline(never)]
fn write_long(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let plain = plain(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(special) = rest.get(plain) else {
            break;
        };
        escape(*special, out);
        rest = &rest[plain + 1..];
    }
    out.push(b'"');
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[high], HEX[low]]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
