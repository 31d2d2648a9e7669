//! The golden frames, which the Python tests read too.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fs, path::PathBuf};

use bytes::BytesMut;
use pyproc_protocol::{
    DEFAULT_MAX_FRAME_SIZE, FrameDecoder, FrameError, Hello, Message, MessageError, WorkerInfo,
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

    fn decode(&self) -> Message {
        let mut input = BytesMut::from(&self.bytes()[..]);
        let mut decoder = FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE);
        let frame = decoder.decode(&mut input).unwrap().unwrap();
        Message::decode(&frame).unwrap()
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
            Message::Cancellation(it) => it.encode(DEFAULT_MAX_FRAME_SIZE, &mut out),
            other => panic!("{}: {other:?}", golden.file),
        }
        .unwrap();
        assert_eq!(out, golden.bytes(), "{}", golden.file);
    }
}

#[test]
fn requests_say_what_the_manifest_says() {
    for golden in golden(&["request", "wrapped-request"]) {
        let expected = golden.message.clone().unwrap();
        let expected = expected.get("payload").unwrap_or(&expected);
        let Message::Request(request) = golden.decode() else {
            panic!("{} is no request", golden.file);
        };
        assert_eq!(request.id, expected["id"]);
        assert_eq!(request.method, expected["method"]);
        assert_eq!(request.body.decode::<Value>().unwrap(), expected["body"]);
        assert_eq!(
            request.headers.len(),
            expected["headers"].as_object().map_or(0, |h| h.len())
        );
    }
}

#[test]
fn responses_say_what_the_manifest_says() {
    for golden in golden(&["response"]) {
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
        assert_eq!(
            response.headers.len(),
            expected["headers"].as_object().map_or(0, |h| h.len())
        );
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
            Ok(frame) => match Message::decode(&frame.unwrap()).unwrap_err() {
                MessageError::UnknownVersion { .. } => "version",
                MessageError::Json { .. } => "json",
                MessageError::MissingKey { .. } => "missing-key",
                MessageError::RequestId { .. } => "id",
                other => panic!("{}: {other}", golden.file),
            },
        };
        assert_eq!(Some(reason), golden.reason.as_deref(), "{}", golden.file);
    }
}
