//! Writes JSON into a buffer up to a limit.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::error::Category;

use crate::{EncodeError, limits::LARGEST_BODY};

/// Appends `value` as JSON to `out`. On an error `out` is unchanged.
///
/// # Errors
///
/// If `value` cannot be represented in JSON, or takes more than `max` bytes. Writing stops before it takes more memory
/// than that.
pub fn encode_json<T: Serialize + ?Sized>(
    value: &T,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if super::write(value, max.min(LARGEST_BODY), out) {
        return Ok(());
    }
    let start = out.len();
    write_bounded(max, out, |w| w.json(value)).inspect_err(|_| out.truncate(start))
}

/// Appends a text, or a map of texts, as JSON: neither the value nor a `Vec` can fail.
pub(crate) fn write_infallible<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

/// Size in bytes of a text as JSON.
pub(crate) fn json_len(text: &str) -> usize {
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        return text.len() + 2;
    }
    let mut json = Vec::new();
    write_infallible(text, &mut json);
    json.len()
}

/// Lets `body` append at most `max` bytes. A larger message is an error before it takes memory.
pub(crate) fn write_bounded(
    max: usize,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut BoundedWriter<'_>) -> Result<(), WriteError>,
) -> Result<(), EncodeError> {
    let end = out.len() + max.min(LARGEST_BODY);
    body(&mut BoundedWriter { out, end }).map_err(|error| match error {
        WriteError::Full => EncodeError::TooLarge { max },
        WriteError::Json(error) => EncodeError::Json(error),
    })
}

pub(crate) enum WriteError {
    Full,
    Json(serde_json::Error),
}

/// A `Vec` that does not grow past `end`.
pub(crate) struct BoundedWriter<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
}

impl BoundedWriter<'_> {
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        // A full buffer is this writer's only error.
        self.write_all(bytes).map_err(|_| WriteError::Full)
    }

    pub(crate) fn decimal(&mut self, number: u64) -> Result<(), WriteError> {
        self.raw(itoa::Buffer::new().format(number).as_bytes())
    }

    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        serde_json::to_writer(self, value).map_err(|error| match error.classify() {
            Category::Io => WriteError::Full,
            _ => WriteError::Json(error),
        })
    }
}

impl Write for BoundedWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.end - self.out.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
