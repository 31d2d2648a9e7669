//! Writing messages. Keys go out in the order of the specification, and `headers`
//! only when there are any, so that the bytes equal those of the first release.

use std::io::{self, Write};

use bytes::{Buf, Bytes};
use serde::Serialize;
use serde_json::error::Category;

use crate::{Cancellation, EncodeError, Headers, LENGTH_PREFIX, Request, Response, headers};

/// The largest id of a request: 2^53 − 1, the largest integer that every JSON reader
/// keeps.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// Bytes of `{"id":`, the longest id, and a comma.
const LONGEST_ID_PART: usize = 6 + 16 + 1;

impl Request {
    /// Appends the request as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`, or the headers break a limit.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        headers::check(&self.headers).map_err(EncodeError::Headers)?;
        write_frame(max_frame_size, out, |w| {
            w.raw(b"{\"id\":")?;
            w.decimal(self.id)?;
            w.raw(b",\"method\":")?;
            w.json(&self.method)?;
            w.raw(b",\"body\":")?;
            w.raw(self.body.as_bytes())?;
            w.headers(&self.headers)?;
            w.raw(b"}")
        })
    }
}

impl Response {
    /// Appends the response as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`, or the headers break a limit.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        headers::check(&self.headers).map_err(EncodeError::Headers)?;
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

/// A request whose id is not chosen yet.
///
/// A scheduler writes the user's value once, outside of any lock, and adds
/// the id when it knows which connection takes the call; [`write`](Self::write) cannot fail.
///
/// ```
/// # use pyproc_protocol::{Headers, PreparedRequest, DEFAULT_MAX_FRAME_SIZE};
/// let value = serde_json::json!({"value": 42});
/// let request =
///     PreparedRequest::new("predict", &value, &Headers::new(), DEFAULT_MAX_FRAME_SIZE, Vec::new())?;
/// let mut wire = Vec::new();
/// request.write(7, &mut wire);
/// assert_eq!(&wire[4..], br#"{"id":7,"method":"predict","body":{"value":42}}"#);
/// # Ok::<(), pyproc_protocol::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct PreparedRequest {
    /// [`HEAD_ROOM`] bytes to be filled in, then all that follows `{"id":N,`.
    buffer: Vec<u8>,
}

/// Room for the length prefix and the part with the id.
const HEAD_ROOM: usize = LENGTH_PREFIX + LONGEST_ID_PART;

impl PreparedRequest {
    /// Writes `body` as JSON into `buffer`, which is emptied first: pass a used one to
    /// spare an allocation.
    ///
    /// # Errors
    ///
    /// When `body` has no JSON form, the headers break a limit, or the frame with the longest
    /// possible id would be larger than `max_frame_size`.
    pub fn new<T: Serialize + ?Sized>(
        method: &str,
        body: &T,
        headers: &Headers,
        max_frame_size: usize,
        mut buffer: Vec<u8>,
    ) -> Result<Self, EncodeError> {
        headers::check(headers).map_err(EncodeError::Headers)?;
        buffer.clear();
        buffer.resize(HEAD_ROOM, 0);
        let room = max_frame_size
            .min(LARGEST_BODY)
            .saturating_sub(LONGEST_ID_PART);
        write_limited(room, max_frame_size, &mut buffer, |w| {
            w.raw(b"\"method\":")?;
            w.json(method)?;
            w.raw(b",\"body\":")?;
            w.json(body)?;
            w.headers(headers)?;
            w.raw(b"}")
        })?;
        Ok(Self { buffer })
    }

    /// Appends the whole frame to `out`. `id` is at most [`MAX_ID`].
    pub fn write(&self, id: u64, out: &mut Vec<u8>) {
        let mut head = [0; HEAD_ROOM];
        let start = self.write_head(id, &mut head);
        out.extend_from_slice(&head[start..]);
        out.extend_from_slice(&self.buffer[HEAD_ROOM..]);
    }

    /// The whole frame, in the memory that it was written to: nothing is copied. `id` is at
    /// most [`MAX_ID`].
    pub fn into_frame(mut self, id: u64) -> Bytes {
        let mut head = [0; HEAD_ROOM];
        let start = self.write_head(id, &mut head);
        self.buffer[..HEAD_ROOM].copy_from_slice(&head);
        let mut frame = Bytes::from(self.buffer);
        frame.advance(start);
        frame
    }

    /// Bytes that the frame takes, give or take the digits of the id.
    pub fn len_hint(&self) -> usize {
        self.buffer.len()
    }

    /// Gives the memory back for the next request.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Fills in all that comes before the tail, at the end of `head`; returns where it
    /// begins.
    fn write_head(&self, id: u64, head: &mut [u8; HEAD_ROOM]) -> usize {
        debug_assert!(id <= MAX_ID);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(id.min(MAX_ID)).as_bytes();
        let mut start = HEAD_ROOM;
        let mut put = |part: &[u8]| {
            start -= part.len();
            head[start..start + part.len()].copy_from_slice(part);
            HEAD_ROOM - start
        };
        put(b",");
        put(digits);
        let head_len = put(b"{\"id\":");
        let tail_len = self.buffer.len() - HEAD_ROOM;
        put(&((head_len + tail_len) as u32).to_be_bytes());
        start
    }
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
