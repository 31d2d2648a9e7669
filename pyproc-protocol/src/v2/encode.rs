use std::time::Duration;

use super::{
    Body, Cancel, Codec, EncodeError, Failure, Message, Method, Ping, Pong, Request, Response,
    wire::{HEADER, flag, kind},
};
use crate::{LENGTH_PREFIX, headers};

impl Request {
    /// Appends the request as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`, the method's name longer than 65,535 bytes,
    /// or the headers break a limit.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        headers::check(&self.headers).map_err(EncodeError::Headers)?;
        if let Method::Name(name) = &self.method {
            fits("method's name", name, usize::from(u16::MAX))?;
        }
        frame(max_frame_size, self.size(), out, |out| {
            header(kind::REQUEST, self.flags(), codec(&self.body), self.id, out);
            match &self.method {
                Method::Index(index) => out.extend_from_slice(&index.to_be_bytes()),
                Method::Name(name) => short_text(name, out),
            }
            if let Some(trace) = &self.trace {
                out.extend_from_slice(&trace.trace_id);
                out.extend_from_slice(&trace.span_id);
                out.push(trace.flags);
            }
            if let Some(deadline) = self.deadline {
                out.extend_from_slice(&nanoseconds(deadline).to_be_bytes());
            }
            self.write_headers(out);
            out.extend_from_slice(&self.body.bytes);
        })
    }

    fn flags(&self) -> u8 {
        let named = matches!(self.method, Method::Name(_));
        [
            (named, flag::NAME),
            (self.trace.is_some(), flag::TRACE),
            (self.deadline.is_some(), flag::DEADLINE),
            (!self.headers.is_empty(), flag::HEADERS),
        ]
        .into_iter()
        .filter_map(|(set, flag)| set.then_some(flag))
        .sum()
    }

    fn write_headers(&self, out: &mut Vec<u8>) {
        if self.headers.is_empty() {
            return;
        }
        // Both are within the limits of headers, which are below 65,536.
        out.extend_from_slice(&(self.headers.len() as u16).to_be_bytes());
        for (name, value) in &self.headers {
            short_text(name, out);
            short_text(value, out);
        }
    }

    fn size(&self) -> usize {
        let name = match &self.method {
            Method::Index(_) => 0,
            Method::Name(name) => name.len(),
        };
        let header = |(name, value): (&String, &String)| 4 + name.len() + value.len();
        let headers: usize = self.headers.iter().map(header).sum();
        2 + name
            + if self.trace.is_some() { 25 } else { 0 }
            + if self.deadline.is_some() { 8 } else { 0 }
            + if headers > 0 { 2 + headers } else { 0 }
            + self.body.bytes.len()
    }
}

impl Response {
    /// Appends the response as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(max_frame_size, self.body.bytes.len(), out, |out| {
            header(kind::RESPONSE, 0, codec(&self.body), self.id, out);
            out.extend_from_slice(&self.body.bytes);
        })
    }
}

impl Failure {
    /// Appends the error as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`, or the type longer than 65,535 bytes.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        fits("type", &self.type_name, usize::from(u16::MAX))?;
        let size = 2 + self.type_name.len() + 4 + self.message.len() + self.traceback.len();
        let flags = if self.retryable { flag::RETRYABLE } else { 0 };
        frame(max_frame_size, size, out, |out| {
            header(kind::ERROR, flags, 0, self.id, out);
            short_text(&self.type_name, out);
            // A frame, and so the message, is below 4 GiB.
            out.extend_from_slice(&(self.message.len() as u32).to_be_bytes());
            out.extend_from_slice(self.message.as_bytes());
            out.extend_from_slice(self.traceback.as_bytes());
        })
    }
}

impl Cancel {
    /// Appends the cancellation as one frame to `out`. On an error `out` is as before.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`.
    pub fn encode(&self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        frame(max_frame_size, self.reason.len(), out, |out| {
            header(kind::CANCEL, 0, 0, self.id, out);
            out.extend_from_slice(self.reason.as_bytes());
        })
    }
}

impl Message {
    /// Appends the message as one frame to `out`. On an error `out` is as before. A
    /// [`Skippable`](Self::Skippable) message, of which nothing is known, writes nothing.
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
            Self::Error(it) => it.encode(max_frame_size, out),
            Self::Cancel(it) => it.encode(max_frame_size, out),
            Self::Ping(Ping { id }) => empty(kind::PING, *id, out),
            Self::Pong(Pong { id }) => empty(kind::PONG, *id, out),
            Self::Drain => empty(kind::DRAIN, 0, out),
            Self::Skippable { .. } => Ok(()),
        }
    }
}

/// Appends a frame of a header and `size` bytes, which `write` must write.
fn frame(
    max: usize,
    size: usize,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), EncodeError> {
    let len = HEADER + size;
    let Some(prefix) = u32::try_from(len).ok().filter(|_| len <= max) else {
        return Err(EncodeError::TooLarge { len, max });
    };
    out.reserve(LENGTH_PREFIX + len);
    let start = out.len();
    out.extend_from_slice(&prefix.to_be_bytes());
    write(out);
    debug_assert_eq!(out.len() - start, LENGTH_PREFIX + len);
    Ok(())
}

fn header(kind: u8, flags: u8, codec: u8, id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, flags, codec, 0]);
    out.extend_from_slice(&id.to_be_bytes());
}

fn codec(body: &Body) -> u8 {
    match body.codec {
        Codec::Json => 0,
        Codec::MessagePack => 1,
        Codec::Raw => 2,
        Codec::Unknown(number) => number,
    }
}

/// A text of at most 65,535 bytes behind its length.
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
