//! Requests, responses and errors in both versions.

use std::time::Duration;

use bytes::BytesMut;
use pyproc_protocol::{
    Cancellation, ClientEvent, ClientSession, Codec, EncodeError, Failure, Headers, Hello,
    RequestHead, ResponseFrame, Times, Version, WorkerEvent, WorkerSession,
    v2::{Method, Response},
};

use crate::{MAX, frame, handshake, hello_of_v1, info, json, request, transferred};

#[test]
fn a_worker_receives_requests_wrapped_or_not_and_cancellations() {
    let mut worker = WorkerSession::new(info(), MAX);
    let mut input = frame(r#"{"id":5,"method":"m","body":1}"#);
    input.unsplit(frame(
        r#"{"type":"request","payload":{"id":6,"method":"m"}}"#,
    ));
    input.unsplit(frame(
        r#"{"type":"cancellation","payload":{"id":6,"reason":"bored"}}"#,
    ));
    let mut next = || {
        worker
            .receive(&mut input, &mut Vec::new())
            .unwrap()
            .unwrap()
    };
    for request in [request(5, "1"), request(6, "null")] {
        let version = Version::V1;
        assert_eq!(next(), WorkerEvent::Request { version, request });
    }
    let cancellation = Cancellation {
        id: 6,
        reason: "bored".into(),
    };
    assert_eq!(next(), WorkerEvent::Cancellation(cancellation));
}

#[test]
fn requests_without_ids_get_the_id_0() {
    let mut worker = WorkerSession::new(info(), MAX);
    let mut input = frame(r#"{"method":"m","body":1}"#);
    input.unsplit(frame(r#"{"id":0,"method":"m","body":1}"#));
    for _ in 0..2 {
        let event = worker.receive(&mut input, &mut Vec::new()).unwrap();
        let (version, request) = (Version::V1, request(0, "1"));
        assert_eq!(event, Some(WorkerEvent::Request { version, request }));
    }
}

#[test]
fn details_of_an_error_are_sent_only_to_a_client_that_asked_for_them() {
    let failure = Failure {
        type_name: "KeyError".into(),
        message: "no such model".into(),
        ..Failure::default()
    };
    let answer = Response::failure(3, failure);

    let (mut session, asked) = handshake(hello_of_v1());
    let event = transferred(&mut session, &asked, Version::V1, answer.clone());
    assert_eq!(event, Some(ClientEvent::Response(answer.clone())));

    let never_asked = WorkerSession::new(info(), MAX);
    let mut out = Vec::new();
    never_asked.respond(Version::V1, answer, &mut out).unwrap();
    assert_eq!(&out[4..], br#"{"id":3,"ok":false,"error":"no such model"}"#);
}

#[test]
fn a_failure_of_any_length_fits_version_1_and_keeps_the_end_of_its_traceback() {
    let max = 1 << 20;
    let (mut to_worker, mut to_client) = (Vec::new(), Vec::new());
    let mut session = ClientSession::start(hello_of_v1(), max, &mut to_worker).unwrap();
    let mut worker = WorkerSession::new(info(), max);
    let mut input = BytesMut::from(&to_worker[..]);
    assert_eq!(worker.receive(&mut input, &mut to_client).unwrap(), None);
    let failure = Failure {
        type_name: "é".repeat(40_000),
        message: "no".into(),
        traceback: format!("{}the last line", "é".repeat(40_000)),
        ..Failure::default()
    };
    let answer = Response::failure(3, failure);
    worker.respond(Version::V1, answer, &mut to_client).unwrap();
    let mut input = BytesMut::from(&to_client[..]);
    assert_eq!(
        session.receive(&mut input).unwrap(),
        Some(ClientEvent::Ready)
    );
    let Some(ClientEvent::Response(answer)) = session.receive(&mut input).unwrap() else {
        panic!("it is an answer");
    };
    let failure = answer.result.unwrap_err();
    assert!(failure.traceback.ends_with("éthe last line"));
    assert!(failure.type_name.len() + failure.traceback.len() > 60_000);
}

#[test]
fn a_request_and_its_response_keep_all_their_parts_in_version_2() {
    let (mut session, mut worker) = handshake(Hello::new("test/1"));
    let headers = Headers::from([("tenant".into(), "acme".into())]);
    let head = RequestHead {
        index: Some(3),
        deadline: Some(Duration::from_millis(5)),
        wants_times: true,
        codec: Codec::Raw,
        ..RequestHead::new(8, "m", &headers)
    };
    let mut out = Vec::new();
    head.encode(Version::V2, b"\0\xff", MAX, &mut out).unwrap();
    let event = worker.receive(&mut BytesMut::from(&out[..]), &mut Vec::new());
    let Some(WorkerEvent::Request { version, request }) = event.unwrap() else {
        panic!("it is a request");
    };
    assert_eq!((version, request.id), (Version::V2, 8));
    assert_eq!(request.method, Method::Index(3));
    assert_eq!(request.deadline, head.deadline);
    assert!(request.wants_times && request.headers == headers);
    assert_eq!(request.body.bytes, &b"\0\xff"[..]);

    let answer = Response {
        times: Some(Times {
            start: Duration::from_secs(1_700_000_000),
            duration: Duration::from_micros(3),
        }),
        ..Response::success(8, request.body)
    };
    let event = transferred(&mut session, &worker, version, answer.clone());
    assert_eq!(event, Some(ClientEvent::Response(answer)));
}

#[test]
fn a_failure_in_version_2_keeps_type_traceback_and_retryable() {
    let (mut session, worker) = handshake(Hello::new("test/1"));
    let failure = Failure {
        type_name: "KeyError".into(),
        message: "no such model".into(),
        traceback: "Traceback ...".into(),
        retryable: true,
    };
    let answer = Response::failure(3, failure);
    let event = transferred(&mut session, &worker, Version::V2, answer.clone());
    assert_eq!(event, Some(ClientEvent::Response(answer)));
}

#[test]
fn either_version_may_be_used_for_each_message_after_the_handshake() {
    let (mut session, mut worker) = handshake(Hello::new("test/1"));
    let headers = Headers::new();
    for (id, version) in [(5, Version::V1), (6, Version::V2), (7, Version::V1)] {
        let mut out = Vec::new();
        let head = RequestHead::new(id, "m", &headers);
        head.encode(version, b"1", MAX, &mut out).unwrap();
        let event = worker.receive(&mut BytesMut::from(&out[..]), &mut Vec::new());
        let request = request(id, "1");
        assert_eq!(
            event.unwrap(),
            Some(WorkerEvent::Request { version, request })
        );
        let answer = Response::success(id, json("2"));
        let event = transferred(&mut session, &worker, version, answer.clone());
        assert_eq!(event, Some(ClientEvent::Response(answer)));
    }
}

#[test]
fn version_1_supports_json_only() {
    let headers = Headers::new();
    let head = RequestHead {
        codec: Codec::Raw,
        ..RequestHead::new(1, "m", &headers)
    };
    let mut out = Vec::new();
    let error = head.encode(Version::V1, b"", MAX, &mut out).unwrap_err();
    assert!(matches!(error, EncodeError::NotJson), "{error}");
    let error =
        ResponseFrame::begin(Version::V1, 1, Codec::MessagePack, None, &mut out).unwrap_err();
    assert!(matches!(error, EncodeError::NotJson), "{error}");
    assert!(out.is_empty());
}

#[test]
fn a_result_too_large_for_a_frame_leaves_the_output_unchanged() {
    for version in [Version::V1, Version::V2] {
        let mut out = vec![9];
        let frame = ResponseFrame::begin(version, 1, Codec::Json, None, &mut out).unwrap();
        out.extend_from_slice(&[b' '; 100]);
        let error = frame.finish(100, &mut out).unwrap_err();
        assert!(
            matches!(error, EncodeError::TooLarge { max: 100 }),
            "{error}"
        );
        assert_eq!(out, [9]);
    }
}

#[test]
fn a_note_replaces_a_failure_too_long_for_a_frame() {
    let failure = Failure {
        message: "x".repeat(MAX),
        ..Failure::default()
    };
    for (version, hello) in [
        (Version::V1, hello_of_v1()),
        (Version::V2, Hello::new("test/1")),
    ] {
        let (mut session, worker) = handshake(hello);
        let answer = Response::failure(3, failure.clone());
        let Some(ClientEvent::Response(answer)) =
            transferred(&mut session, &worker, version, answer)
        else {
            panic!("it is an answer");
        };
        assert_eq!(
            answer.result.unwrap_err().message,
            "an error too long for a frame"
        );
    }
}
