//! The golden frames, which the Python tests read too.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fs, path::PathBuf};

use bytes::{Bytes, BytesMut};
use pyproc_protocol::{
    DEFAULT_MAX_FRAME_SIZE, FrameDecoder, FrameError, Headers, Hello, MessageError, Version,
    WorkerInfo, v1::Message,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Manifest {
    frames: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    file: String,
    kind: String,
    message: Option<Value>,
    reason: Option<String>,
}

impl Golden {
    fn bytes(&self) -> Vec<u8> {
        fs::read(testdata(&self.file)).unwrap()
    }

    fn frame(&self) -> Bytes {
        let mut input = BytesMut::from(&self.bytes()[..]);
        let mut decoder = FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE);
        decoder.decode(&mut input).unwrap().unwrap()
    }

    /// As its receiver reads it.
    fn decode(&self) -> Message {
        match self.kind.contains("response") {
            true => Message::decode_from_worker(&self.frame()).unwrap(),
            false => Message::decode_from_client(&self.frame()).unwrap(),
        }
    }
}

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

fn golden(kinds: &[&str]) -> Vec<Golden> {
    let manifest = fs::read(testdata("manifest.json")).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    let wanted: Vec<_> = manifest
        .frames
        .into_iter()
        .filter(|frame| kinds.contains(&frame.kind.as_str()))
        .collect();
    assert!(!wanted.is_empty(), "no frame of {kinds:?}");
    wanted
}

#[test]
fn messages_of_this_side_are_written_byte_for_byte_as_the_golden_frames() {
    for golden in golden(&["request", "response", "cancellation", "hello-request"]) {
        let mut out = Vec::new();
        match golden.decode() {
            Message::Request(it) => it.encode(DEFAULT_MAX_FRAME_SIZE, &mut out),
            Message::Response(it) => it.encode(DEFAULT_MAX_FRAME_SIZE, &mut out),
            Message::Cancellation(it) => it.encode(Version::V1, DEFAULT_MAX_FRAME_SIZE, &mut out),
            other => panic!("{}: {other:?}", golden.file),
        }
        .unwrap();
        assert_eq!(out, golden.bytes(), "{}", golden.file);
    }
}

#[test]
fn requests_say_what_the_manifest_says() {
    for golden in golden(&["request", "wrapped-request", "lenient-request"]) {
        let expected = golden.message.clone().unwrap();
        let expected = expected.get("payload").unwrap_or(&expected);
        let Message::Request(request) = golden.decode() else {
            panic!("{} is no request", golden.file);
        };
        assert_eq!(request.id, expected["id"]);
        assert_eq!(request.method, expected["method"]);
        assert_eq!(request.body.decode::<Value>().unwrap(), expected["body"]);
        assert_eq!(headers(&request.headers), expected["headers"]);
    }
}

/// Null where there are none.
fn headers(headers: &Headers) -> Value {
    match headers.is_empty() {
        true => Value::Null,
        false => serde_json::to_value(headers).unwrap(),
    }
}

#[test]
fn a_frame_of_unknown_direction_is_read_as_its_receiver_reads_it() {
    for golden in golden(&["request", "wrapped-request", "response", "cancellation"]) {
        assert_eq!(Message::decode(&golden.frame()).unwrap(), golden.decode());
    }
}

#[test]
fn cancellations_say_what_the_manifest_says() {
    for golden in golden(&["cancellation", "lenient-cancellation"]) {
        let expected = golden.message.clone().unwrap();
        let expected = expected.get("payload").unwrap_or(&expected);
        let Message::Cancellation(cancellation) = golden.decode() else {
            panic!("{} is no cancellation", golden.file);
        };
        assert_eq!(cancellation.id, expected["id"]);
        let reason = expected["reason"].as_str().unwrap_or_default();
        assert_eq!(cancellation.reason, reason);
    }
}

#[test]
fn what_is_unreadable_in_a_body_leaves_the_request_its_id() {
    for golden in golden(&["unreadable"]) {
        let Message::Request(request) = golden.decode() else {
            panic!("{} is no request", golden.file);
        };
        let expected = golden.message.unwrap();
        assert_eq!(request.id, expected["id"]);
        assert_eq!(request.method, expected["method"]);
        assert!(request.body.decode::<Value>().is_err(), "{}", golden.file);
    }
}

#[test]
fn responses_say_what_the_manifest_says() {
    for golden in golden(&["response", "lenient-response"]) {
        let expected = golden.message.clone().unwrap();
        let Message::Response(response) = golden.decode() else {
            panic!("{} is no response", golden.file);
        };
        assert_eq!(response.id, expected["id"]);
        assert_eq!(response.result.is_ok(), expected["ok"]);
        match response.result {
            Ok(body) => assert_eq!(body.decode::<Value>().unwrap(), expected["body"]),
            Err(error) => assert_eq!(error, expected["error"]),
        }
        assert_eq!(headers(&response.headers), expected["headers"]);
    }
}

#[test]
fn both_hellos_survive_a_round_trip() {
    for golden in golden(&["hello-request", "hello-response"]) {
        let expected = golden.message.clone().unwrap()["body"].clone();
        let again = match golden.decode() {
            Message::Request(it) => serde_json::to_value(it.body.decode::<Hello>().unwrap()),
            Message::Response(it) => {
                serde_json::to_value(it.result.unwrap().decode::<WorkerInfo>().unwrap())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(again.unwrap(), expected);
    }
}

#[test]
fn a_wrapped_message_of_an_unknown_type_is_named_not_refused() {
    for golden in golden(&["wrapped-unknown"]) {
        assert_eq!(
            golden.decode(),
            Message::Unknown {
                kind: "weather".into()
            }
        );
        assert_eq!(
            golden.decode(),
            Message::decode_from_worker(&golden.frame()).unwrap()
        );
    }
}

#[test]
fn broken_frames_give_the_error_that_the_manifest_names() {
    for golden in golden(&["broken"]) {
        let mut input = BytesMut::from(&golden.bytes()[..]);
        let reason = match FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE).decode(&mut input) {
            Err(FrameError::Empty { offset: 0 }) => "empty",
            Err(FrameError::TooLarge {
                len: 0xFFFF_FFFF,
                offset: 0,
                ..
            }) => "too-large",
            Err(other) => panic!("{}: {other}", golden.file),
            Ok(frame) => match Message::decode_from_client(&frame.unwrap()) {
                Ok(Message::Response(_)) => "direction",
                Ok(message) => panic!("{}: {message:?}", golden.file),
                Err(MessageError::UnknownVersion { .. }) => "version",
                Err(MessageError::Json { .. }) => "json",
                Err(MessageError::MissingKey { .. }) => "missing-key",
                Err(MessageError::RequestId { .. }) => "id",
                Err(other) => panic!("{}: {other}", golden.file),
            },
        };
        assert_eq!(Some(reason), golden.reason.as_deref(), "{}", golden.file);
    }
}
