use std::fmt;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// One valid JSON value that stays as the bytes it arrived in, so that nothing is
/// parsed twice. Cheap to clone; it shares the frame's memory.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(Bytes);

impl RawJson {
    /// JSON's `null`, what an absent body means.
    pub const NULL: Self = Self(Bytes::from_static(b"null"));

    /// Writes a value as JSON.
    ///
    /// # Errors
    ///
    /// When `value` has no JSON form, such as a map whose keys are no strings.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::to_vec(value).map(|json| Self(json.into()))
    }

    /// Takes bytes that are already JSON.
    ///
    /// # Errors
    ///
    /// When `json` is not exactly one JSON value in UTF-8.
    pub fn parse(json: impl Into<Bytes>) -> serde_json::Result<Self> {
        let json = json.into();
        let value: &RawValue = serde_json::from_slice(&json)?;
        Ok(Self::within(&json, value))
    }

    /// Reads the value.
    ///
    /// # Errors
    ///
    /// When the value is not of type `T`, or is nested more than 127 levels deep.
    pub fn decode<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.0)
    }

    /// The value's text in UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value's text, which shares its memory.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// `value` must have been borrowed from `frame`.
    pub(crate) fn within(frame: &Bytes, value: &RawValue) -> Self {
        Self(frame.slice_ref(value.get().as_bytes()))
    }
}

impl Default for RawJson {
    fn default() -> Self {
        Self::NULL
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}
