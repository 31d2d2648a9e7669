//! Bytes as the specification describes them. This file shares no code with the crate, so that a fault of the crate hides none of a worker.

use serde_json::Value;

/// The maximum frame size, if no variable sets another.
pub(crate) const MAXIMUM: usize = 10 * 1024 * 1024;
pub(crate) const MAX_ID: u64 = (1 << 53) - 1;

pub(crate) const REQUEST: u8 = 0x01;
pub(crate) const RESPONSE: u8 = 0x02;
pub(crate) const ERROR: u8 = 0x03;
pub(crate) const CANCEL: u8 = 0x04;
pub(crate) const PING: u8 = 0x08;
pub(crate) const PONG: u8 = 0x09;
pub(crate) const DRAIN: u8 = 0x0A;
pub(crate) const TELEMETRY: u8 = 0x10;

/// Flags of a request.
pub(crate) const NAMED: u8 = 0x01;
pub(crate) const TRACE: u8 = 0x02;
pub(crate) const DEADLINE: u8 = 0x04;
pub(crate) const HEADERS: u8 = 0x08;
pub(crate) const WANTS_TIMES: u8 = 0x10;
/// The flag of an answer that has times.
pub(crate) const TIMES: u8 = 0x01;

pub(crate) const JSON: u8 = 0;
pub(crate) const MESSAGEPACK: u8 = 1;
pub(crate) const RAW: u8 = 2;

/// A body behind its length.
pub(crate) fn frame(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

/// A request of version 1; `body` is JSON.
pub(crate) fn request(id: u64, method: &str, body: &str) -> Vec<u8> {
    frame(format!(
        r#"{{"id":{id},"method":"{method}","body":{body}}}"#
    ))
}

/// A message of version 1 with its keys in the order of 1-R6.
pub(crate) fn written(message: &Value) -> String {
    let keys = ["id", "ok", "body", "error", "headers"];
    let parts = keys
        .iter()
        .filter_map(|key| Some(format!(r#""{key}":{}"#, message.get(key)?)));
    format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
}

pub(crate) fn cancellation(id: u64) -> Vec<u8> {
    frame(format!(
        r#"{{"type":"cancellation","payload":{{"id":{id},"reason":"timeout"}}}}"#
    ))
}

/// A body of version 2: its header, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binary {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) codec: u8,
    pub(crate) id: u64,
    pub(crate) rest: Vec<u8>,
}

impl Binary {
    pub(crate) fn new(kind: u8, id: u64) -> Self {
        Self {
            kind,
            flags: 0,
            codec: 0,
            id,
            rest: Vec::new(),
        }
    }

    /// A request that names its function.
    pub(crate) fn named(id: u64, method: &str, payload: impl AsRef<[u8]>) -> Self {
        Self::new(REQUEST, id)
            .flags(NAMED)
            .text16(method)
            .bytes(payload)
    }

    pub(crate) fn flags(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    pub(crate) fn codec(mut self, codec: u8) -> Self {
        self.codec = codec;
        self
    }

    pub(crate) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.rest.extend_from_slice(bytes.as_ref());
        self
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.bytes(value.to_be_bytes())
    }

    /// A length of two bytes, and the text.
    pub(crate) fn text16(self, text: &str) -> Self {
        self.u16(text.len() as u16).bytes(text)
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut body = vec![self.kind, self.flags, self.codec, 0];
        body.extend(self.id.to_be_bytes());
        body.extend(&self.rest);
        frame(body)
    }

    fn read(body: &[u8]) -> Option<Self> {
        Some(Self {
            kind: *body.first()?,
            flags: *body.get(1)?,
            codec: *body.get(2)?,
            id: u64_at(body, 4)?,
            rest: body.get(12..)?.into(),
        })
    }
}

/// A body that came from the worker.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Json {
        text: String,
        value: Value,
    },
    Binary(Binary),
    /// Neither: the worker broke the rules of frames.
    Unreadable,
}

impl Body {
    pub(crate) fn read(bytes: Vec<u8>) -> Self {
        match bytes.first() {
            Some(b'{') => Self::json(bytes),
            Some(..0x20) => match Binary::read(&bytes) {
                Some(binary) => Self::Binary(binary),
                None => Self::Unreadable,
            },
            _ => Self::Unreadable,
        }
    }

    fn json(bytes: Vec<u8>) -> Self {
        let Ok(text) = String::from_utf8(bytes) else {
            return Self::Unreadable;
        };
        match serde_json::from_str(&text) {
            Ok(value) => Self::Json { text, value },
            // Too deep for this reader: the text is still there to compare.
            Err(_) if text.ends_with('}') => Self::Json {
                text,
                value: Value::Null,
            },
            Err(_) => Self::Unreadable,
        }
    }
}

/// What a response or an error of version 2 says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) flags: u8,
    /// Start and duration, in nanoseconds.
    pub(crate) times: Option<(u64, u64)>,
    pub(crate) outcome: Result<Payload, Fault>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Payload {
    pub(crate) codec: u8,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: String,
    pub(crate) message: String,
}

impl Answer {
    /// `None` if the frame is no answer as section 4 has it.
    pub(crate) fn read(frame: &Binary) -> Option<Self> {
        let (times, rest) = match frame.flags & TIMES {
            0 => (None, &frame.rest[..]),
            _ => (
                Some((u64_at(&frame.rest, 0)?, u64_at(&frame.rest, 8)?)),
                frame.rest.get(16..)?,
            ),
        };
        let outcome = match frame.kind {
            RESPONSE => Ok(Payload {
                codec: frame.codec,
                bytes: rest.into(),
            }),
            ERROR => Err(Fault::read(rest)?),
            _ => return None,
        };
        Some(Self {
            id: frame.id,
            flags: frame.flags,
            times,
            outcome,
        })
    }
}

impl Fault {
    fn read(rest: &[u8]) -> Option<Self> {
        let (kind, rest) = split(rest, 2)?;
        let (message, traceback) = split(rest, 4)?;
        std::str::from_utf8(traceback).ok()?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.into()).ok();
        Some(Self {
            kind: text(kind)?,
            message: text(message)?,
        })
    }
}

/// A part behind its length of `size` bytes, and what follows it.
fn split(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let length = bytes.get(..size)?.iter();
    let length = length.fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    bytes.get(size..)?.split_at_checked(length)
}

fn u64_at(bytes: &[u8], start: usize) -> Option<u64> {
    let bytes = bytes.get(start..start + 8)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
