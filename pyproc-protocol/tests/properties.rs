//! What holds for every message and for every string of bytes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use bytes::BytesMut;
use proptest::{collection::btree_map, collection::vec, prelude::*};
use pyproc_protocol::{
    Cancellation, FrameDecoder, FrameError, Headers, MAX_ID, RequestHead, Version, encode_json,
    v1::{Message, RawJson, Request, Response},
    v2,
};
use serde_json::Value;

const MAX: usize = 1 << 20;

/// Decodes a stream that arrives in pieces of `step` bytes.
fn decode_in_steps(bytes: &[u8], step: usize) -> (Vec<Message>, BytesMut) {
    let mut decoder = FrameDecoder::new(MAX);
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for piece in bytes.chunks(step) {
        input.extend_from_slice(piece);
        while let Some(frame) = decoder.decode(&mut input).unwrap() {
            messages.push(Message::decode(&frame).unwrap());
        }
    }
    (messages, input)
}

fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    match message {
        Message::Request(it) => it.encode(MAX, &mut out),
        Message::Response(it) => it.encode(MAX, &mut out),
        Message::Cancellation(it) => it.encode(Version::V1, MAX, &mut out),
        other => panic!("{other:?} is never sent"),
    }
    .unwrap();
    out
}

fn json() -> impl Strategy<Value = RawJson> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .prop_map(|value| RawJson::encode(&value).unwrap())
}

fn headers() -> impl Strategy<Value = Headers> {
    btree_map(any::<String>(), any::<String>(), 0..4)
}

fn message() -> impl Strategy<Value = Message> {
    let request =
        (1..=MAX_ID, any::<String>(), json(), headers()).prop_map(|(id, method, body, headers)| {
            Message::Request(Request {
                id,
                method,
                body,
                headers,
            })
        });
    let result = prop_oneof![json().prop_map(Ok), any::<String>().prop_map(Err)];
    let response = (0..=MAX_ID, result, headers()).prop_map(|(id, result, headers)| {
        Message::Response(Response {
            id,
            result,
            headers,
        })
    });
    let cancellation = (1..=MAX_ID, any::<String>())
        .prop_map(|(id, reason)| Message::Cancellation(Cancellation { id, reason }));
    prop_oneof![request, response, cancellation]
}

/// What may be the value of a key, as text.
fn value() -> impl Strategy<Value = String> {
    const TEXTS: [&str; 22] = [
        "{\"type\":7,\"id\":\"x\",\"id\":1,\"method\":\"m\"}",
        "null",
        "0",
        "1",
        "2.0",
        "1e0",
        "-1",
        "1.5",
        "9007199254740991",
        "9007199254740992",
        "1e300",
        "true",
        "\"m\"",
        "\"request\"",
        "\"weather\"",
        "\"\\u006d\"",
        "[]",
        "{}",
        "{\"a\":\"1\",\"a\":\"2\"}",
        "{\"a\":1}",
        "[ 1 ]",
        "{\"id\":1,\"method\":\"m\"}",
    ];
    prop::sample::select(&TEXTS[..]).prop_map(String::from)
}

/// The members of an object, as text, with white space.
fn members() -> impl Strategy<Value = Vec<(String, String)>> {
    const KEYS: [&str; 10] = [
        "id", "method", "body", "headers", "type", "payload", "ok", "error", "later", "\\u0069d",
    ];
    vec(
        (
            prop::sample::select(&KEYS[..]).prop_map(String::from),
            value(),
        ),
        0..7,
    )
}

fn object(members: &[(String, String)], space: &str) -> String {
    let written =
        |(key, value): &(String, String)| format!("{space}\"{key}\"{space}:{value}{space}");
    let members: Vec<_> = members.iter().map(written).collect();
    format!("{{{}}}{space}", members.join(","))
}

/// The request in an object, by the words of the specification; `None` if it breaks the frame.
fn model(object: &Value) -> Option<(u64, String, Value, Value)> {
    let id = match &object["id"] {
        Value::Null => 0,
        id => id.as_u64().or_else(|| {
            let id = id.as_f64().filter(|id| id.fract() == 0.0 && *id >= 0.0)?;
            Some(id as u64)
        })?,
    };
    let method = object["method"].as_str()?;
    let headers = match &object["headers"] {
        Value::Null => Value::Null,
        Value::Object(map) if map.is_empty() => Value::Null,
        Value::Object(map) if map.values().all(Value::is_string) => object["headers"].clone(),
        _ => return None,
    };
    (id <= MAX_ID).then(|| (id, method.into(), object["body"].clone(), headers))
}

fn read(message: Message) -> (u64, String, Value, Value) {
    let Message::Request(it) = message else {
        panic!("{message:?} is no request");
    };
    let headers = match it.headers.is_empty() {
        true => Value::Null,
        false => serde_json::to_value(&it.headers).unwrap(),
    };
    (it.id, it.method, it.body.decode().unwrap(), headers)
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_read_by_the_words_of_the_specification(
        members in members(), space in prop::sample::select(&["", " ", "\n\t"][..]),
    ) {
        let text = object(&members, space);
        let decoded = Message::decode_from_client(&text.clone().into());
        // In a `Value`, too, the last of equal keys counts.
        let value: Value = serde_json::from_str(&text).unwrap();
        match &value["type"] {
            Value::Null => prop_assert_eq!(decoded.ok().map(read), model(&value), "{}", text),
            Value::String(kind) if kind == "request" => {
                prop_assert_eq!(decoded.ok().map(read), model(&value["payload"]), "{}", text);
            }
            Value::String(kind) => {
                let kind = kind.clone();
                prop_assert_eq!(decoded.unwrap(), Message::Unknown { kind }, "{}", text);
            }
            _ => prop_assert!(decoded.is_err(), "{}", text),
        }
    }

    #[test]
    fn a_response_is_told_by_its_sender_whatever_other_keys_it_has(
        members in members(), id in 0..=MAX_ID,
    ) {
        let mut members: Vec<_> = members.into_iter().filter(|(key, _)| key != "type").collect();
        for (key, value) in [("headers", "null"), ("ok", "true"), ("error", "null"), ("body", "7")] {
            members.push((key.into(), value.into()));
        }
        members.push(("id".into(), id.to_string()));
        let decoded = Message::decode_from_worker(&object(&members, "").into()).unwrap();
        let body = RawJson::parse(&b"7"[..]).unwrap();
        prop_assert_eq!(decoded, Message::Response(Response::success(id, body)));
    }
}

proptest! {
    #[test]
    fn messages_survive_whole_byte_by_byte_and_with_trailing_data(
        messages in vec(message(), 1..5),
        trailing in vec(any::<u8>(), 0..4),
    ) {
        let mut stream: Vec<u8> = messages.iter().flat_map(encode).collect();
        stream.extend_from_slice(&trailing);
        for step in [1, 7, stream.len()] {
            let (decoded, rest) = decode_in_steps(&stream, step);
            prop_assert_eq!(&decoded, &messages);
            prop_assert_eq!(&rest[..], &trailing[..]);
        }
    }

    #[test]
    fn any_bytes_give_frames_or_more_bytes_or_a_typed_error(bytes in vec(any::<u8>(), 0..512)) {
        let mut decoder = FrameDecoder::new(64);
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = decoder.decode(&mut input) {
            prop_assert!(!frame.is_empty() && frame.len() <= 64);
            let _message_or_error = Message::decode_from_client(&frame);
            let _message_or_error = Message::decode_from_worker(&frame);
        }
    }

    #[test]
    fn any_body_that_begins_like_version_1_gives_a_message_or_a_typed_error(text in "\\{.{0,200}") {
        let frame = text.into_bytes().into();
        let _message_or_error = Message::decode_from_client(&frame);
        let _message_or_error = Message::decode_from_worker(&frame);
    }

    #[test]
    fn a_length_above_the_maximum_is_refused_before_memory_is_taken(len in 65_u32..) {
        let mut input = BytesMut::from(&len.to_be_bytes()[..]);
        let capacity = input.capacity();
        let error = FrameDecoder::new(64).decode(&mut input).unwrap_err();
        prop_assert_eq!(error, FrameError::TooLarge { len: len as usize, max: 64, offset: 0 });
        prop_assert_eq!(input.capacity(), capacity);
    }

    #[test]
    fn a_head_and_its_payload_are_the_request_in_either_version(
        id in 1..=MAX_ID, method in any::<String>(), body in json(), headers in headers(),
    ) {
        let value: Value = body.decode().unwrap();
        let mut payload = Vec::new();
        encode_json(&value, RequestHead::max_payload(&method, &headers, MAX), &mut payload).unwrap();
        let request = Request {
            id,
            method: method.clone(),
            body: RawJson::parse(payload.clone()).unwrap(),
            headers: headers.clone(),
        };
        let head = RequestHead::new(id, &method, &headers);

        let mut v1 = Vec::new();
        let closing = head.begin(Version::V1, payload.len(), MAX, &mut v1).unwrap();
        v1.extend_from_slice(&payload);
        v1.extend_from_slice(closing.as_bytes());
        prop_assert_eq!(v1, encode(&Message::Request(request.clone())));

        let mut v2 = Vec::new();
        head.encode(Version::V2, &payload, MAX, &mut v2).unwrap();
        let decoded = v2::Message::decode(&bytes::Bytes::from(v2).slice(4..)).unwrap();
        prop_assert_eq!(decoded, v2::Message::Request(request.into()));
    }
}
