//! Writes JSON, byte for byte as `serde_json` does, in two thirds of its time, and reads it in seven
//! eighths.
//!
//! What is rare (a map whose keys are neither texts nor numbers, `serde_json`'s own types that are
//! carried as they are) and what fails is refused here, and left to `serde_json`.
//!
//! Its parts are shared with the native core of the Python package, and no others' concern.

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
    float::ShortDecimal,
    reader::{Number, Reader},
    scan::{is_plain, plain},
};
use self::{deserializer::Deserializer, serializer::Serializer};

/// What `serde_json` calls its own types, which are not carried like others.
const PRIVATE: &str = "$serde_json::";

/// It is left to `serde_json`, or to Python.
#[derive(Debug)]
pub struct Refused;

type Result<T = ()> = std::result::Result<T, Refused>;

/// Appends `value`, if that takes no more than `room` bytes; whether it did. Else `out` is as
/// before.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, room: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let end = start.saturating_add(room);
    let written = value.serialize(&mut Serializer::new(out, end)).is_ok() && out.len() <= end;
    if !written {
        out.truncate(start);
    }
    written
}

/// Reads a value from JSON, as [`serde_json::from_slice`] does but for floats: an `f64` is always the one nearest
/// to what is written.
///
/// # Errors
///
/// When it is no JSON, or none of that type: the error that `serde_json` gives.
///
/// ```
/// let numbers: Vec<f64> = pyproc_protocol::decode_json(b"[1, 0.1]")?;
/// assert_eq!(numbers, [1.0, 0.1]);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn decode_json<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    // One look at all of the text is cheaper than one at each of its strings.
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
