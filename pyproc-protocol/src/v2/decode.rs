use std::{mem, str, time::Duration};

use bytes::{Buf, Bytes};

use super::{
    Body, DecodeError, Message, Method, Ping, Pong, Request, Response,
    wire::{END_OF_KINDS, FIRST_SKIPPABLE, HEADER, JSON, flag, kind},
};
use crate::{
    Cancellation, Codec, Failure, Headers, MAX_HEADERS, MAX_ID, MessageError, Times, TraceContext,
    message,
};

impl Message {
    /// Decodes the body of a frame. Payloads share `frame`'s memory.
    ///
    /// # Errors
    ///
    /// If the frame is not a message of version 2, or exceeds a limit.
    pub fn decode(frame: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_owned(frame.clone())
    }

    /// Like [`decode`](Self::decode), for a frame that the caller no longer needs. This changes the reference count of its
    /// memory less often.
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode).
    pub fn decode_owned(frame: Bytes) -> Result<Self, DecodeError> {
        let mut parts = Parts { frame, offset: 0 };
        let header = Header::read(&mut parts)?;
        match header.kind {
            kind::REQUEST => request(&header, parts).map(Message::Request),
            kind::RESPONSE | kind::ERROR => response(&header, parts).map(Message::Response),
            kind::CANCEL => Ok(Message::Cancellation(Cancellation {
                id: header.id,
                reason: parts.rest_text("reason")?,
            })),
            kind::PING => parts.end(&header, Message::Ping(Ping { id: header.id })),
            kind::PONG => parts.end(&header, Message::Pong(Pong { id: header.id })),
            kind::DRAIN => parts.end(&header, Message::Drain),
            kind::TELEMETRY if header.codec == JSON && header.has_known_flags() => {
                Ok(Message::Telemetry(parts.rest()))
            }
            kind => Ok(Message::Unknown { kind }),
        }
    }
}

/// Whether the body of a frame is of version 2.
pub(crate) fn is_frame(frame: &[u8]) -> bool {
    frame.first().is_some_and(|kind| *kind < END_OF_KINDS)
}

/// Whether a receiver that does not know the kind skips the frame.
pub(crate) fn is_skippable(kind: u8) -> bool {
    (FIRST_SKIPPABLE..END_OF_KINDS).contains(&kind)
}

struct Header {
    kind: u8,
    flags: u8,
    codec: u8,
    id: u64,
}

impl Header {
    fn read(parts: &mut Parts) -> Result<Self, DecodeError> {
        let [kind, flags, codec, _, id @ ..] = parts.array::<HEADER>("header")?;
        if (kind < FIRST_SKIPPABLE && !is_known(kind)) || kind >= END_OF_KINDS {
            return Err(DecodeError::UnknownKind { kind });
        }
        let header = Self {
            kind,
            flags,
            codec,
            id: u64::from_be_bytes(id),
        };
        // A message of a skippable kind with unknown flags is skipped later.
        if !header.has_known_flags() && kind < FIRST_SKIPPABLE {
            let flags = header.unknown_flags();
            return Err(DecodeError::UnknownFlags { kind, flags });
        }
        Ok(header)
    }

    fn has_known_flags(&self) -> bool {
        self.unknown_flags() == 0
    }

    /// Unknown flags of those that a receiver must understand.
    fn unknown_flags(&self) -> u8 {
        let known = match self.kind {
            kind::REQUEST => flag::NAME | flag::TRACE | flag::DEADLINE | flag::HEADERS,
            kind::RESPONSE | kind::ERROR => flag::TIMES,
            _ => 0,
        };
        self.flags & flag::MUST_UNDERSTAND & !known
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn is_known(kind: u8) -> bool {
    use kind::{CANCEL, DRAIN, ERROR, PING, PONG, REQUEST, RESPONSE};
    matches!(
        kind,
        REQUEST | RESPONSE | ERROR | CANCEL | PING | PONG | DRAIN
    )
}

fn request(header: &Header, mut parts: Parts) -> Result<Request, DecodeError> {
    if !(1..=MAX_ID).contains(&header.id) {
        return Err(DecodeError::RequestId { id: header.id });
    }
    let method = if header.has(flag::NAME) {
        let len = parts.u16("method")?;
        Method::Name(parts.text(len.into(), "method")?)
    } else {
        Method::Index(parts.u16("method")?)
    };
    let trace = header
        .has(flag::TRACE)
        .then(|| trace(&mut parts))
        .transpose()?;
    let deadline = header
        .has(flag::DEADLINE)
        .then(|| parts.u64("deadline"))
        .transpose()?;
    let headers = if header.has(flag::HEADERS) {
        request_headers(&mut parts)?
    } else {
        Headers::new()
    };
    Ok(Request {
        id: header.id,
        method,
        trace,
        deadline: deadline.map(Duration::from_nanos),
        wants_times: header.has(flag::WANTS_TIMES),
        headers,
        body: body(header, &mut parts),
    })
}

fn trace(parts: &mut Parts) -> Result<TraceContext, DecodeError> {
    Ok(TraceContext {
        trace_id: parts.array("trace context")?,
        span_id: parts.array("trace context")?,
        flags: parts.array::<1>("trace context")?[0],
    })
}

fn request_headers(parts: &mut Parts) -> Result<Headers, DecodeError> {
    let count = usize::from(parts.u16("headers")?);
    if count > MAX_HEADERS {
        return Err(DecodeError::Headers(MessageError::TooManyHeaders { count }));
    }
    let mut headers = Headers::new();
    for _ in 0..count {
        let len = parts.u16("headers")?;
        let name = parts.text(len.into(), "headers")?;
        let len = parts.u16("headers")?;
        let value = parts.text(len.into(), "headers")?;
        if headers.contains_key(&name) {
            return Err(DecodeError::RepeatedHeader { name });
        }
        headers.insert(name, value);
    }
    message::check(&headers).map_err(DecodeError::Headers)?;
    Ok(headers)
}

fn response(header: &Header, mut parts: Parts) -> Result<Response, DecodeError> {
    let times = header
        .has(flag::TIMES)
        .then(|| times(&mut parts))
        .transpose()?;
    let result = match header.kind {
        kind::ERROR => Err(failure(header, parts)?.into()),
        _ => Ok(body(header, &mut parts)),
    };
    Ok(Response {
        id: header.id,
        times,
        result,
    })
}

fn times(parts: &mut Parts) -> Result<Times, DecodeError> {
    Ok(Times {
        start: Duration::from_nanos(parts.u64("times")?),
        duration: Duration::from_nanos(parts.u64("times")?),
    })
}

fn failure(header: &Header, mut parts: Parts) -> Result<Failure, DecodeError> {
    let len = parts.u16("type")?;
    let type_name = parts.text(len.into(), "type")?;
    let len = parts.u32("message")?;
    let message = parts.text(len as usize, "message")?;
    Ok(Failure {
        type_name,
        message,
        traceback: parts.rest_text("traceback")?,
        retryable: header.has(flag::RETRYABLE),
    })
}

fn body(header: &Header, parts: &mut Parts) -> Body {
    Body {
        codec: match header.codec {
            JSON => Codec::Json,
            1 => Codec::MessagePack,
            2 => Codec::Raw,
            other => Codec::Unknown(other),
        },
        bytes: parts.rest(),
    }
}

/// Decodes the parts of a frame from front to back.
struct Parts {
    frame: Bytes,
    offset: usize,
}

impl Parts {
    fn take(&mut self, len: usize, part: &'static str) -> Result<&[u8], DecodeError> {
        let start = self.offset;
        let taken = self.frame.get(start..).and_then(|rest| rest.get(..len));
        // Lazily: otherwise each part would construct and drop an error.
        let taken = taken.ok_or_else(|| DecodeError::Truncated {
            part,
            offset: start,
            len: self.frame.len(),
        })?;
        self.offset += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, part)?);
        Ok(array)
    }

    fn u16(&mut self, part: &'static str) -> Result<u16, DecodeError> {
        self.array(part).map(u16::from_be_bytes)
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, DecodeError> {
        self.array(part).map(u32::from_be_bytes)
    }

    fn u64(&mut self, part: &'static str) -> Result<u64, DecodeError> {
        self.array(part).map(u64::from_be_bytes)
    }

    fn text(&mut self, len: usize, part: &'static str) -> Result<String, DecodeError> {
        let bytes = self.take(len, part)?;
        let text = str::from_utf8(bytes).map_err(|source| DecodeError::Utf8 { part, source })?;
        Ok(text.to_owned())
    }

    fn rest_text(&mut self, part: &'static str) -> Result<String, DecodeError> {
        self.text(self.frame.len() - self.offset, part)
    }

    /// The rest of the frame.
    fn rest(&mut self) -> Bytes {
        let mut rest = mem::take(&mut self.frame);
        rest.advance(mem::take(&mut self.offset));
        rest
    }

    /// Checks that nothing follows.
    fn end(self, header: &Header, message: Message) -> Result<Message, DecodeError> {
        match self.frame.len() - self.offset {
            0 => Ok(message),
            count => Err(DecodeError::TrailingBytes {
                kind: header.kind,
                count,
            }),
        }
    }
}
