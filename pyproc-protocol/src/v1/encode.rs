//! Writing messages. Keys go out in the order of the specification, and `headers`
//! only when there are any, so that the bytes equal those of the first release.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::error::Category;

use crate::{
    Cancellation, EncodeError, Headers, LENGTH_PREFIX, Request, RequestHead, Response, Version,
    json, message,
};

/// The largest id of a request: 2^53 − 1, the largest integer that every JSON reader
/// keeps.
pub const MAX_ID: u64 = (1 << 53) - 1;

impl Request {
    /// Appends the request as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`, or the headers break a limit.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let head = RequestHead::new(self.id, &self.method, &self.headers);
        head.encode(Version::V1, self.body.as_bytes(), max_frame_size, out)
    }
}

impl Response {
    /// Appends the response as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`, or the headers break a limit.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        message::check(&self.headers).map_err(EncodeError::Headers)?;
        write_frame(max_frame_size, out, |w| {
            w.raw(b"{\"id\":")?;
            w.decimal(self.id)?;
            match &self.result {
                Ok(body) => {
                    w.raw(b",\"ok\":true,\"body\":")?;
                    w.raw(body.as_bytes())?;
                }
                Err(error) => {
                    w.raw(b",\"ok\":false,\"error\":")?;
                    w.json(error)?;
                }
            }
            w.headers(&self.headers)?;
            w.raw(b"}")
        })
    }
}

impl Cancellation {
    /// Appends the wrapped cancellation as one frame to `out`. On an error `out` is as
    /// before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        write_frame(max_frame_size, out, |w| {
            w.raw(br#"{"type":"cancellation","payload":"#)?;
            w.json(self)?;
            w.raw(b"}")
        })
    }
}

/// Appends `value` as JSON to `out`. On an error `out` is as before.
///
/// # Errors
///
/// When `value` has no JSON form, or takes more than `room` bytes; then it is broken off before it
/// takes memory.
pub fn encode_json<T: Serialize + ?Sized>(
    value: &T,
    room: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if json::write(value, room.min(LARGEST_BODY), out) {
        return Ok(());
    }
    let start = out.len();
    write_limited(room, room, out, |w| w.json(value)).inspect_err(|_| out.truncate(start))
}

/// Appends texts, or a map of them, as JSON: neither the value nor a `Vec` can fail.
pub(crate) fn json_infallible<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

/// Bytes that a text takes as JSON.
pub(crate) fn json_size(text: &str) -> usize {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        return text.len() + 2;
    }
    let mut json = Vec::new();
    json_infallible(text, &mut json);
    json.len()
}

fn write_frame(
    max: usize,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Limited<'_>) -> Result<(), WriteError>,
) -> Result<(), EncodeError> {
    let start = begin_frame(out);
    write_limited(max, max, out, body).inspect_err(|_| out.truncate(start))?;
    end_frame(out, start);
    Ok(())
}

fn begin_frame(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_PREFIX]);
    start
}

/// The most that a length prefix can say.
const LARGEST_BODY: usize = u32::MAX as usize;

/// Fills in the length of the frame that began at `start`; a body never exceeds
/// [`LARGEST_BODY`].
fn end_frame(out: &mut [u8], start: usize) {
    let len = (out.len() - start - LENGTH_PREFIX) as u32;
    out[start..start + LENGTH_PREFIX].copy_from_slice(&len.to_be_bytes());
}

/// Lets `body` append at most `room` bytes; a message that needs more is broken off before
/// it takes memory. `max` is what the error names.
fn write_limited(
    room: usize,
    max: usize,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Limited<'_>) -> Result<(), WriteError>,
) -> Result<(), EncodeError> {
    let end = out.len() + room.min(LARGEST_BODY);
    body(&mut Limited { out, end }).map_err(|error| match error {
        WriteError::Full => EncodeError::TooLarge { max },
        WriteError::Json(error) => EncodeError::Json(error),
    })
}

enum WriteError {
    Full,
    Json(serde_json::Error),
}

/// A `Vec` that refuses to grow past `end`.
struct Limited<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
}

impl Limited<'_> {
    fn raw(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        // Being full is the only way in which this writer fails.
        self.write_all(bytes).map_err(|_| WriteError::Full)
    }

    fn decimal(&mut self, number: u64) -> Result<(), WriteError> {
        self.raw(itoa::Buffer::new().format(number).as_bytes())
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        serde_json::to_writer(self, value).map_err(|error| match error.classify() {
            Category::Io => WriteError::Full,
            _ => WriteError::Json(error),
        })
    }

    fn headers(&mut self, headers: &Headers) -> Result<(), WriteError> {
        if headers.is_empty() {
            return Ok(());
        }
        self.raw(b",\"headers\":")?;
        self.json(headers)
    }
}

impl Write for Limited<'_> {
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
