//! Version 2: golden frames, properties and limits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path, time::Duration};

use bytes::{Bytes, BytesMut};
use proptest::{collection::btree_map, collection::vec, option, prelude::*};
use pyproc_protocol::{
    Cancellation, Codec, EncodeError, Failure, FrameDecoder, Headers, MAX_ID, Times, TraceContext,
    v2::{
        Body, DecodeError, Message, Method, Ping, Pong, Request, Response,
        telemetry::{Record, decode_records},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

const MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct Golden {
    file: String,
    message: Option<Value>,
    reason: Option<String>,
    /// Whether we write the same bytes.
    rewritten: Option<bool>,
}

fn golden() -> Vec<(Golden, Vec<u8>)> {
    #[derive(Deserialize)]
    struct Manifest {
        frames: Vec<Golden>,
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v2");
    let manifest = fs::read(dir.join("manifest.json")).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    let read = |golden: Golden| {
        let bytes = fs::read(dir.join(&golden.file)).unwrap();
        (golden, bytes)
    };
    manifest.frames.into_iter().map(read).collect()
}

fn body_of(frame: &[u8]) -> Bytes {
    let mut input = BytesMut::from(frame);
    let body = FrameDecoder::new(MAX).decode(&mut input).unwrap().unwrap();
    assert!(input.is_empty());
    body
}

fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(MAX, &mut out).unwrap();
    out
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn codec(codec: Codec) -> u8 {
    match codec {
        Codec::Json => 0,
        Codec::MessagePack => 1,
        Codec::Raw => 2,
        Codec::Unknown(number) => number,
        _ => panic!("a codec that this test does not know"),
    }
}

/// A message in the words of the manifest.
fn describe(message: &Message) -> Value {
    match message {
        Message::Request(it) => describe_request(it),
        Message::Response(it) => describe_answer(it),
        Message::Cancellation(it) => json!({"kind": "cancel", "id": it.id, "reason": it.reason}),
        Message::Ping(Ping { id }) => json!({"kind": "ping", "id": id}),
        Message::Pong(Pong { id }) => json!({"kind": "pong", "id": id}),
        Message::Drain => json!({"kind": "drain"}),
        Message::Telemetry(lines) => describe_telemetry(lines),
        Message::Unknown { .. } => json!({"kind": "skippable"}),
        other => panic!("{other:?}"),
    }
}

fn describe_telemetry(lines: &Bytes) -> Value {
    let (read, unreadable): (Vec<_>, Vec<_>) = decode_records(lines).partition(Result::is_ok);
    let read: Vec<Record> = read.into_iter().map(Result::unwrap).collect();
    let mut value = json!({"kind": "telemetry", "records": read});
    let metrics = read.iter().filter_map(|it| match it {
        Record::Metrics(it) => Some(&it.unreadable),
        _ => None,
    });
    let metrics: Vec<_> = metrics.flatten().map(|it| &it.name).collect();
    if !metrics.is_empty() {
        value["unreadable_metrics"] = json!(metrics);
    }
    if !unreadable.is_empty() {
        value["unreadable"] = json!(unreadable.len());
    }
    value
}

fn describe_answer(answer: &Response) -> Value {
    let mut value = match &answer.result {
        Ok(body) => json!({
            "kind": "response", "codec": codec(body.codec), "body": text(&body.bytes),
        }),
        Err(it) => json!({
            "kind": "error", "type": it.type_name, "message": it.message,
            "traceback": it.traceback, "retryable": it.retryable,
        }),
    };
    value["id"] = json!(answer.id);
    if let Some(times) = answer.times {
        value["start_ns"] = json!(times.start.as_nanos() as u64);
        value["duration_ns"] = json!(times.duration.as_nanos() as u64);
    }
    value
}

fn describe_request(request: &Request) -> Value {
    let mut value = json!({
        "kind": "request", "id": request.id, "codec": codec(request.body.codec),
        "body": text(&request.body.bytes),
    });
    value["method"] = match &request.method {
        Method::Index(index) => json!(index),
        Method::Name(name) => json!(name),
    };
    if let Some(trace) = &request.trace {
        let (trace_id, span_id) = (hex(&trace.trace_id), hex(&trace.span_id));
        value["trace"] = json!(format!("{trace_id}-{span_id}-{:02x}", trace.flags));
    }
    if let Some(deadline) = request.deadline {
        value["deadline_ns"] = json!(deadline.as_nanos() as u64);
    }
    if request.wants_times {
        value["wants_times"] = json!(true);
    }
    if !request.headers.is_empty() {
        value["headers"] = json!(request.headers);
    }
    value
}

#[test]
fn golden_frames_say_what_the_manifest_says_and_are_written_byte_for_byte() {
    let mut compared = 0;
    for (golden, bytes) in golden() {
        let Some(expected) = golden.message else {
            continue;
        };
        let message = Message::decode(&body_of(&bytes)).unwrap();
        assert_eq!(describe(&message), expected, "{}", golden.file);
        if golden.rewritten != Some(false) {
            assert_eq!(encode(&message), bytes, "{}", golden.file);
        }
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}

#[test]
fn broken_frames_give_the_error_that_the_manifest_names() {
    let mut compared = 0;
    for (golden, bytes) in golden() {
        let Some(expected) = golden.reason else {
            continue;
        };
        let reason = match Message::decode(&body_of(&bytes)).unwrap_err() {
            DecodeError::Truncated { .. } => "truncated",
            DecodeError::UnknownKind { .. } => "kind",
            DecodeError::UnknownFlags { .. } => "flags",
            DecodeError::Utf8 { .. } => "utf8",
            DecodeError::Headers(_) => "headers",
            DecodeError::RepeatedHeader { .. } => "repeated",
            DecodeError::RequestId { .. } => "id",
            DecodeError::TrailingBytes { .. } => "trailing",
            other => panic!("{}: {other}", golden.file),
        };
        assert_eq!(reason, expected, "{}", golden.file);
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}

#[test]
fn a_frame_of_the_maximum_size_is_written_and_one_byte_more_is_not() {
    let response = |size: usize| Response::success(1, Body::json(vec![b' '; size].into()));
    let mut out = vec![7];
    response(100).encode(112, &mut out).unwrap();
    assert_eq!(out.len(), 1 + 4 + 112);
    let error = response(101).encode(112, &mut out).unwrap_err();
    assert!(
        matches!(error, EncodeError::TooLarge { max: 112 }),
        "{error}"
    );
    assert_eq!(out.len(), 1 + 4 + 112, "nothing is left behind");
}

#[test]
fn a_part_too_long_for_its_length_field_is_refused_by_name() {
    let named = Method::Name("x".repeat(65_536));
    let request = Request::new(1, named, Body::json(Bytes::new()));
    let error = request.encode(MAX, &mut Vec::new()).unwrap_err();
    assert!(
        matches!(error, EncodeError::PartTooLong { len: 65_536, .. }),
        "{error}"
    );
}

#[test]
fn a_trace_context_reads_as_w3c_writes_it() {
    let trace = TraceContext {
        trace_id: [
            0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80,
            0x31, 0x9c,
        ],
        span_id: [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31],
        flags: 1,
    };
    let expected = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(trace.to_string(), expected);
}

#[test]
fn a_deadline_beyond_the_field_is_written_as_the_longest() {
    let mut request = Request::new(1, Method::Index(0), Body::json(Bytes::new()));
    request.deadline = Some(Duration::MAX);
    let Ok(Message::Request(read)) = Message::decode(&body_of(&encode(&Message::Request(request))))
    else {
        panic!("it is a request");
    };
    assert_eq!(read.deadline, Some(Duration::from_nanos(u64::MAX)));
}

fn body() -> impl Strategy<Value = Body> {
    let codec = prop_oneof![
        Just(Codec::Json),
        Just(Codec::MessagePack),
        Just(Codec::Raw),
        (3_u8..).prop_map(Codec::Unknown),
    ];
    (codec, vec(any::<u8>(), 0..64)).prop_map(|(codec, bytes)| Body {
        codec,
        bytes: bytes.into(),
    })
}

fn headers() -> impl Strategy<Value = Headers> {
    btree_map(any::<String>(), any::<String>(), 0..4)
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![
        any::<u16>().prop_map(Method::Index),
        any::<String>().prop_map(Method::Name),
    ];
    let trace =
        any::<([u8; 16], [u8; 8], u8)>().prop_map(|(trace_id, span_id, flags)| TraceContext {
            trace_id,
            span_id,
            flags,
        });
    let deadline = option::of(any::<u64>().prop_map(Duration::from_nanos));
    (
        1..=MAX_ID,
        method,
        option::of(trace),
        deadline,
        any::<bool>(),
        headers(),
        body(),
    )
        .prop_map(
            |(id, method, trace, deadline, wants_times, headers, body)| Request {
                id,
                method,
                trace,
                deadline,
                wants_times,
                headers,
                body,
            },
        )
}

fn answer() -> impl Strategy<Value = Response> {
    let times = any::<(u64, u64)>().prop_map(|(start, duration)| Times {
        start: Duration::from_nanos(start),
        duration: Duration::from_nanos(duration),
    });
    let failure = any::<(String, String, String, bool)>().prop_map(
        |(type_name, message, traceback, retryable)| Failure {
            type_name,
            message,
            traceback,
            retryable,
        },
    );
    let result = prop_oneof![body().prop_map(Ok), failure.prop_map(Err)];
    (any::<u64>(), option::of(times), result).prop_map(|(id, times, result)| Response {
        id,
        times,
        result: result.map_err(Box::new),
    })
}

fn message() -> impl Strategy<Value = Message> {
    let cancellation = any::<(u64, String)>().prop_map(|(id, reason)| Cancellation { id, reason });
    prop_oneof![
        request().prop_map(Message::Request),
        answer().prop_map(Message::Response),
        cancellation.prop_map(Message::Cancellation),
        any::<u64>().prop_map(|id| Message::Ping(Ping { id })),
        any::<u64>().prop_map(|id| Message::Pong(Pong { id })),
        Just(Message::Drain),
        vec(any::<u8>(), 0..64).prop_map(|lines| Message::Telemetry(lines.into())),
    ]
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
            let mut decoder = FrameDecoder::new(MAX);
            let (mut input, mut decoded) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(step) {
                input.extend_from_slice(piece);
                while let Some(frame) = decoder.decode(&mut input).unwrap() {
                    decoded.push(Message::decode(&frame).unwrap());
                }
            }
            prop_assert_eq!(&decoded, &messages);
            prop_assert_eq!(&input[..], &trailing[..]);
        }
    }

    #[test]
    fn any_bytes_give_a_message_or_a_typed_error(bytes in vec(any::<u8>(), 0..256), kind in 0_u8..0x20) {
        let _message_or_error = Message::decode(&bytes.clone().into());
        let mut framed = bytes;
        framed.insert(0, kind);
        let _message_or_error = Message::decode(&framed.into());
    }

    #[test]
    fn a_message_cut_off_anywhere_is_a_message_or_a_typed_error(message in message(), cut in any::<prop::sample::Index>()) {
        let frame = Bytes::from(encode(&message)).slice(4..);
        let _message_or_error = Message::decode(&frame.slice(..cut.index(frame.len())));
    }

    #[test]
    fn a_frame_says_by_its_first_byte_which_version_it_is(message in message()) {
        let frame = Bytes::from(encode(&message)).slice(4..);
        prop_assert!(frame[0] < 0x20);
        prop_assert!(pyproc_protocol::v1::Message::decode(&frame).is_err());
    }
}
