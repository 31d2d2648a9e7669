//! Decodes the object around a body.
//!
//! The fast path reads most frames in one pass, each key with its expected type. A frame that this path rejects goes
//! through the slow path, which implements the rules for unusual frames: the last one of repeated keys counts, and a
//! message of an unknown type may have any keys.

use std::{borrow::Cow, collections::BTreeMap, fmt, str};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess},
};
use serde_json::value::RawValue;

use super::{Message, RawJson, Request, Response};
use crate::{Cancellation, Headers, MAX_ID, MessageError, lenient::Integer, message};

impl Message {
    /// Decodes the body of a frame that a client sent: a message without `type` is a request.
    ///
    /// Bodies of requests and responses share `frame`'s memory. A request without an id gets the id 0.
    ///
    /// # Errors
    ///
    /// If the frame is not a message of version 1, or exceeds a limit.
    pub fn decode_from_client(frame: &Bytes) -> Result<Self, MessageError> {
        decode(frame, Sender::Client)
    }

    /// Decodes the body of a frame that a worker sent: a message without `type` is a response.
    ///
    /// # Errors
    ///
    /// As for [`decode_from_client`](Self::decode_from_client).
    pub fn decode_from_worker(frame: &Bytes) -> Result<Self, MessageError> {
        decode(frame, Sender::Worker)
    }

    /// Decodes the body of a frame of either side: a message with `ok` is a response. If the sender is known, use
    /// [`decode_from_client`](Self::decode_from_client) or [`decode_from_worker`](Self::decode_from_worker), which
    /// ignore keys of the other side.
    ///
    /// # Errors
    ///
    /// As for [`decode_from_client`](Self::decode_from_client).
    pub fn decode(frame: &Bytes) -> Result<Self, MessageError> {
        decode(frame, Sender::Either)
    }
}

/// The sender of a frame, which decides how a message without `type` is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Client,
    Worker,
    /// Unknown: the key `ok` decides.
    Either,
}

/// Decodes the body of one frame.
fn decode(frame: &Bytes, sender: Sender) -> Result<Message, MessageError> {
    match frame.first() {
        Some(b'{') => {}
        first => {
            let first = first.copied().unwrap_or_default();
            return Err(MessageError::UnknownVersion { first });
        }
    }
    let decoder = Decoder {
        frame,
        sender,
        is_payload: false,
    };
    let envelope = decoder.envelope(frame)?;
    match &envelope.kind {
        None => decoder.unwrapped(envelope),
        Some(kind) => decoder.wrapped(kind, envelope.payload),
    }
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    frame: &'a Bytes,
    sender: Sender,
    /// Whether this decodes a payload, in which `type` has no meaning.
    is_payload: bool,
}

/// The keys of all messages.
#[derive(Default)]
struct Envelope<'a> {
    id: Option<u64>,
    ok: Option<bool>,
    method: Option<Cow<'a, str>>,
    body: Option<&'a RawValue>,
    error: Option<Cow<'a, str>>,
    headers: Option<Headers>,
    kind: Option<Cow<'a, str>>,
    payload: Option<&'a RawValue>,
}

impl<'a> Decoder<'a> {
    fn envelope(self, json: &'a [u8]) -> Result<Envelope<'a>, MessageError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let fast = FastPath(self.sender).deserialize(&mut deserializer);
        if let Ok((envelope, is_known)) = fast
            && deserializer.end().is_ok()
            // Skipped values are not checked for UTF-8.
            && (is_known || str::from_utf8(json).is_ok())
        {
            return Ok(envelope);
        }
        self.slow_path(json).map_err(|source| self.error(source))
    }

    fn slow_path(self, json: &'a [u8]) -> serde_json::Result<Envelope<'a>> {
        // From a `str`: `from_slice` does not check skipped values for UTF-8.
        let text = str::from_utf8(json).map_err(de::Error::custom)?;
        let keys: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str::<Keys<'a>>(text)?.0;
        let get = |key: &str| keys.get(key).copied();
        let kind = if self.is_payload { None } else { get("type") };
        if let Some(kind) = optional::<Option<Text<'a>>>(kind)?.flatten() {
            return Ok(Envelope {
                kind: Some(kind.0),
                payload: get("payload"),
                ..Envelope::default()
            });
        }
        let (client, worker) = (self.sender != Sender::Worker, self.sender != Sender::Client);
        let text_of = |key| optional::<Text<'a>>(get(key)).map(|text| text.map(|it| it.0));
        Ok(Envelope {
            id: optional::<Integer<u64>>(get("id"))?.map(|id| id.0),
            ok: if worker { optional(get("ok"))? } else { None },
            method: if client { text_of("method")? } else { None },
            body: get("body"),
            error: if worker { text_of("error")? } else { None },
            headers: optional::<Keys<'a>>(get("headers"))?
                .map(Keys::texts)
                .transpose()?,
            ..Envelope::default()
        })
    }

    fn unwrapped(self, envelope: Envelope<'a>) -> Result<Message, MessageError> {
        match self.sender {
            Sender::Client => self.request(envelope),
            Sender::Worker => self.response(envelope),
            Sender::Either if envelope.ok.is_some() => self.response(envelope),
            Sender::Either => self.request(envelope),
        }
    }

    fn wrapped(self, kind: &str, payload: Option<&'a RawValue>) -> Result<Message, MessageError> {
        let payload = payload.map_or("{}", RawValue::get).as_bytes();
        let within = |sender| Self {
            sender,
            is_payload: true,
            ..self
        };
        match kind {
            "request" => {
                let decoder = within(Sender::Client);
                decoder.request(decoder.envelope(payload)?)
            }
            "response" => {
                let decoder = within(Sender::Worker);
                decoder.response(decoder.envelope(payload)?)
            }
            "cancellation" => self.cancellation(payload),
            other => Ok(Message::Unknown { kind: other.into() }),
        }
    }

    fn request(self, envelope: Envelope<'a>) -> Result<Message, MessageError> {
        Ok(Message::Request(Request {
            id: checked_id(envelope.id)?,
            method: required(envelope.method, "method")?.into_owned(),
            body: self.raw(envelope.body),
            headers: checked(envelope.headers)?,
        }))
    }

    fn response(self, envelope: Envelope<'a>) -> Result<Message, MessageError> {
        Ok(Message::Response(Response {
            id: envelope.id.unwrap_or_default(),
            result: if required(envelope.ok, "ok")? {
                Ok(self.raw(envelope.body))
            } else {
                Err(envelope.error.unwrap_or_default().into_owned())
            },
            headers: checked(envelope.headers)?,
        }))
    }

    fn cancellation(self, payload: &'a [u8]) -> Result<Message, MessageError> {
        let keys = serde_json::from_slice::<Keys<'a>>(payload).and_then(|Keys(keys)| {
            let id = optional::<Integer<u64>>(keys.get("id").copied())?;
            // The reason may be any value.
            let reason = keys.get("reason").and_then(|it| value::<Text<'a>>(it).ok());
            Ok((id.map(|id| id.0), reason))
        });
        let (id, reason) = keys.map_err(|source| self.error(source))?;
        Ok(Message::Cancellation(Cancellation {
            id: checked_id(id)?,
            reason: reason.map(|it| it.0.into_owned()).unwrap_or_default(),
        }))
    }

    fn raw(self, body: Option<&RawValue>) -> RawJson {
        body.map_or(RawJson::NULL, |body| RawJson::within(self.frame, body))
    }

    fn error(self, source: serde_json::Error) -> MessageError {
        let len = self.frame.len();
        MessageError::Json { len, source }
    }
}

fn checked_id(id: Option<u64>) -> Result<u64, MessageError> {
    match id.unwrap_or_default() {
        id @ 0..=MAX_ID => Ok(id),
        id => Err(MessageError::RequestId { id }),
    }
}

fn required<T>(value: Option<T>, key: &'static str) -> Result<T, MessageError> {
    value.ok_or(MessageError::MissingKey { key })
}

fn checked(headers: Option<Headers>) -> Result<Headers, MessageError> {
    let headers = headers.unwrap_or_default();
    message::check(&headers)?;
    Ok(headers)
}

/// Decodes a value that is known to be JSON.
fn value<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> serde_json::Result<T> {
    serde_json::from_str(raw.get())
}

fn optional<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> serde_json::Result<Option<T>> {
    raw.map_or(Ok(None), value)
}

/// A text that is borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Id,
    Ok,
    Method,
    Body,
    Error,
    Headers,
    Type,
    Payload,
    #[serde(other)]
    Unknown,
}

/// Reads the keys of this sender's messages. Also returns whether there were no other keys.
struct FastPath(Sender);

impl<'de> DeserializeSeed<'de> for FastPath {
    type Value = (Envelope<'de>, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> de::Visitor<'de> for FastPath {
    type Value = (Envelope<'de>, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (client, worker) = (self.0 != Sender::Worker, self.0 != Sender::Client);
        let (mut envelope, mut is_known) = (Envelope::default(), true);
        while let Some(key) = map.next_key()? {
            match key {
                Key::Id => envelope.id = map.next_value::<Option<Integer<u64>>>()?.map(|id| id.0),
                Key::Ok if worker => envelope.ok = map.next_value()?,
                Key::Method if client => envelope.method = text(&mut map)?,
                Key::Body => envelope.body = map.next_value()?,
                Key::Error if worker => envelope.error = text(&mut map)?,
                Key::Headers => envelope.headers = map.next_value()?,
                Key::Type => envelope.kind = text(&mut map)?,
                Key::Payload => envelope.payload = map.next_value()?,
                Key::Ok | Key::Method | Key::Error | Key::Unknown => {
                    is_known = false;
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok((envelope, is_known))
    }
}

fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    Ok(map.next_value::<Option<Text<'de>>>()?.map(|text| text.0))
}

/// The members of an object; of members with the same key the last one.
#[derive(Deserialize)]
struct Keys<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);

impl Keys<'_> {
    fn texts(self) -> serde_json::Result<Headers> {
        let texts = self.0.into_iter();
        texts
            .map(|(key, raw)| Ok((key.into_owned(), value(raw)?)))
            .collect()
    }
}
