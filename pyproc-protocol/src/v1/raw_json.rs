use std::fmt;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// One valid JSON value, kept as the bytes that it arrived in, so that nothing is parsed twice. A clone is cheap: it
/// shares the frame's memory.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(Bytes);

impl RawJson {
    /// JSON's `null`, which an absent body stands for.
    pub const NULL: Self = Self(Bytes::from_static(b"null"));

    /// Encodes a value.
    ///
    /// # Errors
    ///
    /// If `value` cannot be represented in JSON, such as a map with keys that are neither strings nor numbers.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::to_vec(value).map(|json| Self(json.into()))
    }

    /// Checks that bytes are JSON, and keeps them.
    ///
    /// # Errors
    ///
    /// If `json` is not exactly one JSON value in UTF-8.
    pub fn parse(json: impl Into<Bytes>) -> serde_json::Result<Self> {
        let json = json.into();
        let value: &RawValue = serde_json::from_slice(&json)?;
        Ok(Self::within(&json, value))
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// If the value is not of type `T`, or is nested more than 127 levels deep.
    pub fn decode<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.0)
    }

    /// The value's text in UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value's text, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// `value` must be borrowed from `frame`.
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
