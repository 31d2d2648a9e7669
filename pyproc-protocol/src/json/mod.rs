//! Encodes JSON with the same bytes as `serde_json`, and decodes it with each float the nearest to its digits. The
//! measurements that decide that this code stays are in `README.md` beside this file.
//!
//! Rare values (maps whose keys are neither strings nor numbers, `serde_json`'s own types) and all errors are [`Refused`]
//! here. Then `serde_json` encodes or decodes the whole value again.
//!
//! Only the native core of the Python package shares these parts; they are not a public API.

mod bounded;
mod decimal;
mod deserializer;
mod float;
mod reader;
mod scan;
mod serializer;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use serde::{Serialize, de, de::DeserializeOwned, ser};

pub(crate) use self::bounded::{
    BoundedWriter, WriteError, json_len, write_bounded, write_infallible,
};
pub use self::{
    bounded::encode_json,
    float::{FloatBuffer, ShortDecimal},
    reader::{Number, Reader},
    scan::{is_plain, plain},
};
use self::{deserializer::Deserializer, serializer::Serializer};

/// Prefix of the names of `serde_json`'s own types, which need special treatment.
const PRIVATE: &str = "$serde_json::";

/// The fast path does not handle this value: `serde_json`, or Python, does.
#[derive(Debug)]
pub struct Refused;

type Result<T = ()> = std::result::Result<T, Refused>;

/// Appends `value` if it takes at most `room` bytes. Returns whether it did; otherwise `out` is unchanged.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, room: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let end = start.saturating_add(room);
    let written = value.serialize(&mut Serializer::new(out, end)).is_ok() && out.len() <= end;
    if !written {
        out.truncate(start);
    }
    written
}

/// Decodes a value from JSON, like [`serde_json::from_slice`]. The only difference: an `f64` is always the one nearest to
/// the decimal number.
///
/// # Errors
///
/// If the bytes are not JSON, or not of this type: the error of `serde_json`.
///
/// ```
/// let numbers: Vec<f64> = pyproc_protocol::decode_json(b"[1, 0.1]")?;
/// assert_eq!(numbers, [1.0, 0.1]);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn decode_json<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    // One check of the whole text is cheaper than a check of each string.
    match std::str::from_utf8(json).ok().and_then(read) {
        Some(value) => Ok(value),
        None => serde_json::from_slice(json),
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Option<T> {
    let mut deserializer = Deserializer::new(json);
    let value = T::deserialize(&mut deserializer).ok()?;
    deserializer.is_complete().then_some(value)
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl de::Error for Refused {
    #[cold]
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}
