//! Keys are written in the order of the specification, and `headers` only if there are any, so that the bytes equal
//! those of the first release.

use super::{Request, Response};
use crate::{
    Cancellation, EncodeError, Headers, LENGTH_PREFIX, RequestHead, RequestTail,
    json::{BoundedWriter, WriteError, json_len, write_bounded, write_infallible},
    message,
};

/// Bytes of `{"id":` and the longest id.
const LONGEST_ID_PART: usize = 6 + 16;

impl Request {
    /// Appends the request as one frame to `out`. On an error `out` is unchanged.
    ///
    /// # Errors
    ///
    /// If the frame is larger than `max_frame_size`, or the headers exceed a limit.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        message::check(&self.headers).map_err(EncodeError::Headers)?;
        let head = RequestHead::new(self.id, &self.method, &self.headers);
        let body = self.body.as_bytes();
        let tail = begin_request(&head, body.len(), max_frame_size, out)?;
        out.extend_from_slice(body);
        out.extend_from_slice(tail.as_bytes());
        Ok(())
    }
}

impl Response {
    /// Appends the response as one frame to `out`. On an error `out` is unchanged.
    ///
    /// # Errors
    ///
    /// If the frame is larger than `max_frame_size`, or the headers exceed a limit.
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
            if !self.headers.is_empty() {
                w.raw(b",\"headers\":")?;
                w.json(&self.headers)?;
            }
            w.raw(b"}")
        })
    }
}

/// Appends the wrapped cancellation as one frame.
pub(crate) fn encode_cancellation(
    cancellation: &Cancellation,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write_frame(max, out, |w| {
        w.raw(br#"{"type":"cancellation","payload":"#)?;
        w.json(cancellation)?;
        w.raw(b"}")
    })
}

/// Appends a request up to its payload, of which `len` bytes must follow.
pub(crate) fn begin_request(
    head: &RequestHead<'_>,
    len: usize,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<RequestTail, EncodeError> {
    let tail = request_tail(head.headers);
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_PREFIX]);
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(itoa::Buffer::new().format(head.id).as_bytes());
    out.extend_from_slice(b",\"method\":");
    write_infallible(head.method, out);
    out.extend_from_slice(b",\"body\":");
    let size = out.len() - start - LENGTH_PREFIX + len + tail.as_bytes().len();
    let Some(prefix) = u32::try_from(size).ok().filter(|_| size <= max) else {
        out.truncate(start);
        return Err(EncodeError::TooLarge { max });
    };
    out[start..start + LENGTH_PREFIX].copy_from_slice(&prefix.to_be_bytes());
    Ok(tail)
}

fn request_tail(headers: &Headers) -> RequestTail {
    if headers.is_empty() {
        return RequestTail::Brace;
    }
    let mut bytes = b",\"headers\":".to_vec();
    write_infallible(headers, &mut bytes);
    bytes.push(b'}');
    RequestTail::Headers(bytes)
}

/// Maximum number of a request's bytes besides its payload and the length prefix.
pub(crate) fn longest_head(method: &str, headers: &Headers) -> usize {
    let keys = b",\"method\":,\"body\":".len();
    let tail = request_tail(headers);
    LONGEST_ID_PART + json_len(method) + keys + tail.as_bytes().len()
}

/// Appends a successful response up to its payload, without the length prefix.
pub(crate) fn response_head(id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    out.extend_from_slice(b",\"ok\":true,\"body\":");
}

fn write_frame(
    max: usize,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut BoundedWriter<'_>) -> Result<(), WriteError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_PREFIX]);
    write_bounded(max, out, body).inspect_err(|_| out.truncate(start))?;
    // The writer is bounded to what a length prefix can announce.
    let len = (out.len() - start - LENGTH_PREFIX) as u32;
    out[start..start + LENGTH_PREFIX].copy_from_slice(&len.to_be_bytes());
    Ok(())
}
