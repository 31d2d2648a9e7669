use std::time::Duration;

use super::{
    Body, Message, Method, Ping, Pong, Request, Response,
    wire::{HEADER, JSON, flag, kind},
};
use crate::{
    Cancellation, Codec, EncodeError, Failure, Headers, LENGTH_PREFIX, RequestHead, Times,
    TraceContext, message,
};

impl Request {
    /// Appends the request as one frame to `out`. On an error `out` is unchanged.
    ///
    /// # Errors
    ///
    /// If the frame is larger than `max_frame_size`, the method's name is longer than 65,535 bytes, or the headers exceed
    /// a limit.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (method, index) = match &self.method {
            Method::Index(index) => ("", Some(*index)),
            Method::Name(name) => (&name[..], None),
        };
        let head = RequestHead {
            id: self.id,
            method,
            index,
            trace: self.trace,
            deadline: self.deadline,
            wants_times: self.wants_times,
            headers: &self.headers,
            codec: self.body.codec,
        };
        message::check(head.headers).map_err(EncodeError::Headers)?;
        begin_request(&head, self.body.bytes.len(), max_frame_size, out)?;
        out.extend_from_slice(&self.body.bytes);
        Ok(())
    }
}

impl Response {
    /// Appends the response as one frame to `out`. On an error `out` is unchanged.
    ///
    /// # Errors
    ///
    /// If the frame is larger than `max_frame_size`, or the exception's type is longer than 65,535 bytes.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match &self.result {
            Ok(body) => self.encode_body(body, max_frame_size, out),
            Err(failure) => encode_failure(self.id, self.times, failure, max_frame_size, out),
        }
    }

    fn encode_body(&self, body: &Body, max: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let size = times_size(self.times) + body.bytes.len();
        frame(max, size, out, |out| {
            response_head(self.id, body.codec, self.times, out);
            out.extend_from_slice(&body.bytes);
        })
    }
}

/// Appends an error as one frame.
pub(crate) fn encode_failure(
    id: u64,
    times: Option<Times>,
    it: &Failure,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    fits("type", &it.type_name, usize::from(u16::MAX))?;
    let texts = 2 + it.type_name.len() + 4 + it.message.len() + it.traceback.len();
    let retryable = if it.retryable { flag::RETRYABLE } else { 0 };
    frame(max, times_size(times) + texts, out, |out| {
        header(kind::ERROR, retryable | times_flag(times), 0, id, out);
        write_times(times, out);
        short_text(&it.type_name, out);
        // A frame, and so the message, is below 4 GiB.
        out.extend_from_slice(&(it.message.len() as u32).to_be_bytes());
        out.extend_from_slice(it.message.as_bytes());
        out.extend_from_slice(it.traceback.as_bytes());
    })
}

impl Message {
    /// Appends the message as one frame to `out`. On an error `out` is unchanged. An [`Unknown`](Self::Unknown) message
    /// appends nothing.
    ///
    /// # Errors
    ///
    /// Those of the message's own `encode`.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let empty = |kind: u8, id: u64, out: &mut Vec<u8>| {
            frame(max_frame_size, 0, out, |out| header(kind, 0, 0, id, out))
        };
        match self {
            Self::Request(it) => it.encode(max_frame_size, out),
            Self::Response(it) => it.encode(max_frame_size, out),
            Self::Cancellation(it) => encode_cancellation(it, max_frame_size, out),
            Self::Ping(Ping { id }) => empty(kind::PING, *id, out),
            Self::Pong(Pong { id }) => empty(kind::PONG, *id, out),
            Self::Drain => empty(kind::DRAIN, 0, out),
            Self::Telemetry(records) => encode_telemetry(records, max_frame_size, out),
            Self::Unknown { .. } => Ok(()),
        }
    }
}

/// Appends a cancellation as one frame.
pub(crate) fn encode_cancellation(
    it: &Cancellation,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    frame(max, it.reason.len(), out, |out| {
        header(kind::CANCEL, 0, 0, it.id, out);
        out.extend_from_slice(it.reason.as_bytes());
    })
}

/// Appends lines of records as one frame.
pub(super) fn encode_telemetry(
    records: &[u8],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    frame(max, records.len(), out, |out| {
        header(kind::TELEMETRY, 0, JSON, 0, out);
        out.extend_from_slice(records);
    })
}

/// Appends a request up to its payload, of which `payload` bytes must follow.
pub(crate) fn begin_request(
    head: &RequestHead<'_>,
    payload: usize,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if head.index.is_none() {
        fits("method's name", head.method, usize::from(u16::MAX))?;
    }
    let size = request_parts_len(head);
    begin_frame(max, size + payload, out)?;
    let start = out.len();
    header(
        kind::REQUEST,
        request_flags(head),
        codec(head.codec),
        head.id,
        out,
    );
    match head.index {
        Some(index) => out.extend_from_slice(&index.to_be_bytes()),
        None => short_text(head.method, out),
    }
    if let Some(trace) = &head.trace {
        out.extend_from_slice(&trace.trace_id);
        out.extend_from_slice(&trace.span_id);
        out.push(trace.flags);
    }
    if let Some(deadline) = head.deadline {
        out.extend_from_slice(&nanoseconds(deadline).to_be_bytes());
    }
    write_headers(head, out);
    debug_assert_eq!(out.len() - start, HEADER + size);
    Ok(())
}

/// Maximum number of bytes before a payload, without the length prefix.
pub(crate) fn longest_head(method: &str, headers: &Headers) -> usize {
    let trace = TraceContext {
        trace_id: [0; 16],
        span_id: [0; 8],
        flags: 0,
    };
    let longest = RequestHead {
        trace: Some(trace),
        deadline: Some(Duration::MAX),
        ..RequestHead::new(0, method, headers)
    };
    HEADER + request_parts_len(&longest)
}

fn request_flags(head: &RequestHead<'_>) -> u8 {
    let set = |condition: bool, flag: u8| if condition { flag } else { 0 };
    set(head.index.is_none(), flag::NAME)
        | set(head.trace.is_some(), flag::TRACE)
        | set(head.deadline.is_some(), flag::DEADLINE)
        | set(!head.headers.is_empty(), flag::HEADERS)
        | set(head.wants_times, flag::WANTS_TIMES)
}

/// Size in bytes of the parts between the header and the payload.
fn request_parts_len(head: &RequestHead<'_>) -> usize {
    let name = if head.index.is_some() {
        0
    } else {
        head.method.len()
    };
    let header = |(name, value): (&String, &String)| 4 + name.len() + value.len();
    let headers: usize = head.headers.iter().map(header).sum();
    2 + name
        + if head.trace.is_some() { 25 } else { 0 }
        + if head.deadline.is_some() { 8 } else { 0 }
        + if headers > 0 { 2 + headers } else { 0 }
}

fn write_headers(head: &RequestHead<'_>, out: &mut Vec<u8>) {
    if head.headers.is_empty() {
        return;
    }
    // The limits on headers keep both below 65,536.
    out.extend_from_slice(&(head.headers.len() as u16).to_be_bytes());
    for (name, value) in head.headers {
        short_text(name, out);
        short_text(value, out);
    }
}

/// Appends a successful response up to its payload, without the length prefix.
pub(crate) fn response_head(id: u64, body: Codec, times: Option<Times>, out: &mut Vec<u8>) {
    header(kind::RESPONSE, times_flag(times), codec(body), id, out);
    write_times(times, out);
}

fn times_flag(times: Option<Times>) -> u8 {
    if times.is_some() { flag::TIMES } else { 0 }
}

fn times_size(times: Option<Times>) -> usize {
    if times.is_some() { 16 } else { 0 }
}

fn write_times(times: Option<Times>, out: &mut Vec<u8>) {
    if let Some(times) = times {
        out.extend_from_slice(&nanoseconds(times.start).to_be_bytes());
        out.extend_from_slice(&nanoseconds(times.duration).to_be_bytes());
    }
}

/// Appends a frame of a header and `size` bytes, both of which `write` must append.
fn frame(
    max: usize,
    size: usize,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), EncodeError> {
    begin_frame(max, size, out)?;
    let start = out.len();
    write(out);
    debug_assert_eq!(out.len() - start, HEADER + size);
    Ok(())
}

/// Appends the length prefix of a frame with a header and `size` more bytes.
fn begin_frame(max: usize, size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let len = HEADER + size;
    let Some(prefix) = u32::try_from(len).ok().filter(|_| len <= max) else {
        return Err(EncodeError::TooLarge { max });
    };
    out.reserve(LENGTH_PREFIX + len);
    out.extend_from_slice(&prefix.to_be_bytes());
    Ok(())
}

fn header(kind: u8, flags: u8, codec: u8, id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, flags, codec, 0]);
    out.extend_from_slice(&id.to_be_bytes());
}

fn codec(codec: Codec) -> u8 {
    match codec {
        Codec::Json => JSON,
        Codec::MessagePack => 1,
        Codec::Raw => 2,
        Codec::Unknown(number) => number,
    }
}

/// Appends a text of at most 65,535 bytes after its length.
fn short_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn fits(part: &'static str, text: &str, max: usize) -> Result<(), EncodeError> {
    match text.len() {
        len if len <= max => Ok(()),
        len => Err(EncodeError::PartTooLong { part, len, max }),
    }
}
