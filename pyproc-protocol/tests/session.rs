//! Both ends of the handshake in conversation, without a socket.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pyproc_protocol::{
    AcceptedHello, Cancellation, ClientEvent, ClientSession, Codec, EncodeError, Failure, Features,
    FrameDecoder, FrameError, Headers, Hello, Peer, RequestHead, ResponseFrame, SessionError,
    Times, Version, WorkerEvent, WorkerInfo, WorkerSession,
    v1::Message,
    v2::{self, Body, Method, Response},
};

const MAX: usize = 64 * 1024;

fn frame(json: &str) -> BytesMut {
    let mut frame = BytesMut::from(&(json.len() as u32).to_be_bytes()[..]);
    frame.extend_from_slice(json.as_bytes());
    frame
}

fn info() -> WorkerInfo {
    WorkerInfo {
        features: Features::ALL,
        agent: "test/1".into(),
        pid: 7,
        ..WorkerInfo::default()
    }
}

/// A client that has sent its hello.
fn client() -> (ClientSession, Vec<u8>) {
    let mut out = Vec::new();
    let session = ClientSession::start(Hello::new("test/1"), MAX, &mut out).unwrap();
    (session, out)
}

fn json(text: &'static str) -> Body {
    Body::json(Bytes::from_static(text.as_bytes()))
}

/// A request by name, as a worker sees it.
fn request(id: u64, body: &'static str) -> v2::Request {
    v2::Request::new(id, Method::Name("m".into()), json(body))
}

/// A hello of a client from before version 2.
fn hello_of_v1() -> Hello {
    Hello {
        versions: vec![1],
        ..Hello::new("test/1")
    }
}

/// The worker's answer, as the client sees it.
fn carried(
    session: &mut ClientSession,
    worker: &WorkerSession,
    version: Version,
    answer: Response,
) -> Option<ClientEvent> {
    let mut out = Vec::new();
    worker.respond(version, answer, &mut out).unwrap();
    session.receive(&mut BytesMut::from(&out[..])).unwrap()
}

/// Both ends after the handshake.
fn handshake(hello: Hello) -> (ClientSession, WorkerSession) {
    let (mut to_worker, mut to_client) = (Vec::new(), Vec::new());
    let mut session = ClientSession::start(hello, MAX, &mut to_worker).unwrap();
    let mut worker = WorkerSession::new(info(), MAX);
    let mut input = BytesMut::from(&to_worker[..]);
    assert_eq!(worker.receive(&mut input, &mut to_client).unwrap(), None);
    let mut input = BytesMut::from(&to_client[..]);
    assert_eq!(
        session.receive(&mut input).unwrap(),
        Some(ClientEvent::Ready)
    );
    (session, worker)
}

fn answered(json: &str) -> Result<Option<ClientEvent>, SessionError> {
    client().0.receive(&mut frame(json))
}

#[test]
fn new_peers_agree_on_version_and_features() {
    let (session, worker) = handshake(Hello {
        owner: true,
        ..Hello::new("test/1")
    });
    let Some(Peer::Negotiated(info)) = session.peer() else {
        panic!("{:?}", session.peer());
    };
    assert_eq!(
        (info.version, info.features, info.pid),
        (2, Features::CALLS, 7)
    );
    assert!(worker.is_owned());
}

#[test]
fn an_old_worker_keeps_the_session_on_version_1_without_features() {
    let (mut session, _) = client();
    let mut answer = frame(r#"{"id":1,"ok":false,"error":"Method 'pyproc.hello' not found"}"#);
    assert_eq!(
        session.receive(&mut answer).unwrap(),
        Some(ClientEvent::Ready)
    );
    let peer = session.peer().unwrap();
    assert_eq!(
        (peer.version(), peer.features()),
        (Version::V1, Features::NONE)
    );
}

#[test]
fn only_features_that_both_name_are_in_force() {
    let mut hello = Hello::new("test/1");
    hello.features.cancel = false;
    let (session, _) = handshake(hello);
    let features = session.peer().unwrap().features();
    assert!(features.error_details && !features.cancel);
}

#[test]
fn nobody_is_known_before_the_answer() {
    let (mut session, _) = client();
    assert_eq!(session.peer(), None);
    assert_eq!(session.receive(&mut BytesMut::new()).unwrap(), None);
}

#[test]
fn a_worker_that_chooses_what_was_not_offered_is_refused() {
    let error = answered(r#"{"id":1,"ok":true,"body":{"version":9}}"#).unwrap_err();
    assert!(
        matches!(error, SessionError::Version { version: 9 }),
        "{error}"
    );
}

#[test]
fn an_answer_to_the_hello_with_another_id_is_refused() {
    let error = answered(r#"{"id":2,"ok":true,"body":{"version":1}}"#).unwrap_err();
    assert!(
        matches!(error, SessionError::HelloId { id: 2, expected: 1 }),
        "{error}"
    );
}

#[test]
fn an_answer_to_the_hello_that_is_no_introduction_is_refused() {
    let error = answered(r#"{"id":1,"ok":true,"body":"hi"}"#).unwrap_err();
    assert!(matches!(error, SessionError::HelloBody(_)), "{error}");
}

#[test]
fn more_functions_than_allowed_are_refused() {
    let functions = vec![r#"{"name":"f"}"#; 4097].join(",");
    let mut session = ClientSession::start(Hello::new("t"), 1 << 20, &mut Vec::new()).unwrap();
    let json = format!(r#"{{"id":1,"ok":true,"body":{{"version":1,"functions":[{functions}]}}}}"#);
    let error = session.receive(&mut frame(&json)).unwrap_err();
    assert!(error.to_string().contains("4097"), "{error}");
}

#[test]
fn a_worker_that_could_not_read_a_frame_ends_the_session_with_its_words() {
    let (mut session, _) = handshake(Hello::new("test/1"));
    let error = session
        .receive(&mut frame(r#"{"id":0,"ok":false,"error":"huh"}"#))
        .unwrap_err();
    assert!(matches!(error, SessionError::Refused { message } if message == "huh"));
}

#[test]
fn a_client_refuses_requests_and_skips_what_it_does_not_know() {
    let (mut session, _) = handshake(Hello::new("test/1"));
    let mut input = frame(r#"{"type":"weather","payload":{}}"#);
    input.unsplit(frame(r#"{"id":5,"ok":true,"body":1}"#));
    assert_eq!(
        session.receive(&mut input).unwrap(),
        Some(ClientEvent::Response(Response::success(5, json("1"))))
    );
    for request in [
        r#"{"id":5,"method":"m"}"#,
        r#"{"type":"request","payload":{"id":5,"method":"m"}}"#,
    ] {
        let (mut session, _) = handshake(Hello::new("test/1"));
        let error = session.receive(&mut frame(request)).unwrap_err();
        assert!(
            matches!(error, SessionError::Unexpected { got: "request", .. }),
            "{error}"
        );
    }
    let error = session
        .receive(&mut frame(r#"{"id":5,"body":1}"#))
        .unwrap_err();
    assert!(matches!(error, SessionError::Message(_)), "{error}");
}

#[test]
fn a_worker_yields_requests_wrapped_or_not_and_cancellations() {
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
fn a_worker_says_why_before_it_closes() {
    let mut worker = WorkerSession::new(info(), MAX);
    let mut out = Vec::new();
    let error = worker.receive(&mut frame("nonsense"), &mut out);
    worker.write_error(&error.unwrap_err(), &mut out);
    let Ok(Message::Response(farewell)) = Message::decode(&out[4..].to_vec().into()) else {
        panic!("{out:?}");
    };
    assert_eq!(farewell.id, 0);
    let reason = farewell.result.unwrap_err();
    assert!(reason.contains("cannot begin with byte 0x6e"), "{reason}");
}

#[test]
fn a_second_hello_ends_the_session() {
    let (_, mut worker) = handshake(Hello::new("test/1"));
    let again = r#"{"id":2,"method":"pyproc.hello","body":{"versions":[1]}}"#;
    let mut out = Vec::new();
    let error = worker.receive(&mut frame(again), &mut out).unwrap_err();
    assert!(
        matches!(
            error,
            SessionError::Unexpected {
                got: "second hello",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_worker_without_a_common_version_says_so_and_goes_on() {
    let mut worker = WorkerSession::new(info(), MAX);
    let mut out = Vec::new();
    let hello = r#"{"id":1,"method":"pyproc.hello","body":{"versions":[9]}}"#;
    assert_eq!(worker.receive(&mut frame(hello), &mut out).unwrap(), None);
    assert!(String::from_utf8_lossy(&out).contains("speaks versions 1 and 2"));
    assert!(
        worker
            .receive(&mut frame(r#"{"id":2,"method":"m"}"#), &mut out)
            .unwrap()
            .is_some()
    );
}

/// What a worker answers to a hello with this body.
fn answer_to_hello(body: &str) -> (WorkerSession, String) {
    let mut worker = WorkerSession::new(info(), MAX);
    let mut out = Vec::new();
    let hello = format!(r#"{{"id":1,"method":"pyproc.hello","body":{body}}}"#);
    assert_eq!(worker.receive(&mut frame(&hello), &mut out).unwrap(), None);
    (worker, String::from_utf8(out[4..].to_vec()).unwrap())
}

#[test]
fn a_hello_chooses_the_highest_version_that_is_known_whatever_else_is_offered() {
    for (versions, chosen) in [("[2]", 2), ("[1,2,3]", 2), ("[1.0,-1,2.5,1e300]", 1)] {
        let (_, answer) = answer_to_hello(&format!(r#"{{"versions":{versions}}}"#));
        assert!(
            answer.contains(&format!(r#""version":{chosen}"#)),
            "{answer}"
        );
    }
}

#[test]
fn members_of_a_hello_may_be_null_and_are_refused_if_they_are_something_else() {
    let (worker, answer) =
        answer_to_hello(r#"{"versions":[1,2],"features":null,"agent":null,"owner":null}"#);
    assert!(answer.contains(r#""ok":true"#), "{answer}");
    assert!(!worker.is_owned());
    for odd in [
        r#"{"versions":[1],"features":"cancel"}"#,
        r#"{"versions":[1],"features":[1]}"#,
        r#"{"versions":[1],"agent":1}"#,
        r#"{"versions":[1],"owner":"yes"}"#,
        r#"{"versions":["1"]}"#,
        r#"{"versions":1}"#,
        "{}",
        "null",
    ] {
        let (_, answer) = answer_to_hello(odd);
        assert!(answer.contains("the hello makes no sense"), "{answer}");
    }
}

#[test]
fn a_hello_without_an_id_ends_the_session() {
    for hello in [
        r#"{"method":"pyproc.hello","body":{"versions":[1]}}"#,
        r#"{"id":0,"method":"pyproc.hello","body":{"versions":[1]}}"#,
    ] {
        let mut worker = WorkerSession::new(info(), MAX);
        let error = worker.receive(&mut frame(hello), &mut Vec::new());
        let got = "hello without an id";
        assert!(matches!(error, Err(SessionError::Unexpected { got: it, .. }) if it == got));
    }
}

#[test]
fn an_introduction_may_have_null_for_whatever_may_be_absent() {
    let bare = r#"{"version":2.0,"functions":[{"name":"f"}]}"#;
    let nulls = r#"{"version":2,"features":null,"agent":null,"pid":null,"python":null,"functions":[{"name":"f","doc":null,"parameters":null,"returns":null,"concurrent":null}]}"#;
    let peers = [bare, nulls].map(|body| {
        let mut session = client().0;
        let answer = frame(&format!(r#"{{"id":1,"ok":true,"body":{body}}}"#));
        session.receive(&mut answer.clone()).unwrap();
        session.peer().unwrap().clone()
    });
    assert_eq!(peers[0], peers[1]);
}

#[test]
fn requests_without_ids_are_yielded_with_the_id_0() {
    let mut worker = WorkerSession::new(info(), MAX);
    let mut input = frame(r#"{"method":"m","body":1}"#);
    input.unsplit(frame(r#"{"id":0,"method":"m","body":1}"#));
    for _ in 0..2 {
        let event = worker.receive(&mut input, &mut Vec::new()).unwrap();
        let (version, request) = (Version::V1, request(0, "1"));
        assert_eq!(event, Some(WorkerEvent::Request { version, request }));
    }
}

/// A frame of version 2 whose prefix announces `len` bytes, as far as `sent`.
fn beginning(kind: u8, len: u32, sent: usize) -> BytesMut {
    let mut bytes = BytesMut::from(&len.to_be_bytes()[..]);
    bytes.extend_from_slice(&[kind]);
    bytes.resize(sent, 0);
    bytes
}

#[test]
fn telemetry_longer_than_the_maximum_is_read_past_without_memory() {
    let (len, (mut session, worker)) = (MAX as u32 + 9, handshake(Hello::new("test/1")));
    let mut rest = beginning(0x10, len, 4 + len as usize);
    let mut after = Vec::new();
    let answer = Response::success(5, json("1"));
    worker
        .respond(Version::V2, answer.clone(), &mut after)
        .unwrap();
    rest.extend_from_slice(&after);
    let mut input = rest.split_to(4);
    assert_eq!(
        session.receive(&mut input).unwrap(),
        None,
        "its kind is unknown"
    );
    input.extend_from_slice(&rest.split_to(100));
    let event = session.receive(&mut input).unwrap();
    assert_eq!(event, Some(ClientEvent::TooLong { len: len as usize }));
    while rest.len() > 50 {
        input.extend_from_slice(&rest.split_to(50));
        assert_eq!(session.receive(&mut input).unwrap(), None);
        assert!(input.capacity() < MAX, "{}", input.capacity());
    }
    input.extend_from_slice(&rest);
    let event = session.receive(&mut input).unwrap();
    assert_eq!(event, Some(ClientEvent::Response(answer)));
}

#[test]
fn whatever_must_be_understood_ends_the_session_when_it_is_too_long() {
    for (kind, hello) in [
        (0x02, Hello::new("test/1")),
        (0x20, Hello::new("test/1")),
        (0x10, hello_of_v1()),
    ] {
        let (mut session, _) = handshake(hello);
        let error = session.receive(&mut beginning(kind, MAX as u32 + 1, 5));
        assert!(matches!(error, Err(SessionError::Frame(_))), "{kind}");
    }
}

#[test]
fn details_of_an_error_go_only_to_a_client_that_asked_for_them() {
    let failure = Failure {
        type_name: "KeyError".into(),
        message: "no such model".into(),
        ..Failure::default()
    };
    let answer = Response::failure(3, failure);

    let (mut session, asked) = handshake(hello_of_v1());
    let event = carried(&mut session, &asked, Version::V1, answer.clone());
    assert_eq!(event, Some(ClientEvent::Response(answer.clone())));

    let never_asked = WorkerSession::new(info(), MAX);
    let mut out = Vec::new();
    never_asked.respond(Version::V1, answer, &mut out).unwrap();
    assert_eq!(&out[4..], br#"{"id":3,"ok":false,"error":"no such model"}"#);
}

#[test]
fn a_failure_of_any_length_can_be_told_in_version_1_and_keeps_the_end_of_its_traceback() {
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
fn a_request_and_its_answer_survive_in_version_2_with_all_their_parts() {
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
    let event = carried(&mut session, &worker, version, answer.clone());
    assert_eq!(event, Some(ClientEvent::Response(answer)));
}

#[test]
fn failures_in_version_2_keep_type_traceback_and_whether_to_retry() {
    let (mut session, worker) = handshake(Hello::new("test/1"));
    let failure = Failure {
        type_name: "KeyError".into(),
        message: "no such model".into(),
        traceback: "Traceback ...".into(),
        retryable: true,
    };
    let answer = Response::failure(3, failure);
    let event = carried(&mut session, &worker, Version::V2, answer.clone());
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
        let event = carried(&mut session, &worker, version, answer.clone());
        assert_eq!(event, Some(ClientEvent::Response(answer)));
    }
}

#[test]
fn binary_frames_are_refused_on_both_ends_unless_the_hello_chose_version_2() {
    let ping = v2::Message::Ping(v2::Ping { id: 1 });
    let mut frame = Vec::new();
    ping.encode(MAX, &mut frame).unwrap();
    let (mut session, mut worker) = handshake(hello_of_v1());
    let error = worker
        .receive(&mut BytesMut::from(&frame[..]), &mut Vec::new())
        .unwrap_err();
    assert!(matches!(error, SessionError::Message(_)), "{error}");
    let error = session
        .receive(&mut BytesMut::from(&frame[..]))
        .unwrap_err();
    assert!(matches!(error, SessionError::Message(_)), "{error}");
}

#[test]
fn pings_are_answered_by_the_session_and_unknown_kinds_are_skipped() {
    let (mut session, mut worker) = handshake(Hello::new("test/1"));
    let mut to_worker = Vec::new();
    v2::Message::Ping(v2::Ping { id: 77 })
        .encode(MAX, &mut to_worker)
        .unwrap();
    to_worker.extend_from_slice(b"\0\0\0\x0c\x1e\0\0\0\0\0\0\0\0\0\0\0");
    v2::Message::Drain.encode(MAX, &mut to_worker).unwrap();
    let mut to_client = Vec::new();
    let event = worker.receive(&mut BytesMut::from(&to_worker[..]), &mut to_client);
    assert_eq!(event.unwrap(), Some(WorkerEvent::Drain));
    let event = session.receive(&mut BytesMut::from(&to_client[..]));
    assert_eq!(event.unwrap(), Some(ClientEvent::Pong(77)));
}

#[test]
fn a_peer_that_sends_what_only_the_other_side_may_send_is_refused() {
    let (mut session, mut worker) = handshake(Hello::new("test/1"));
    let encode = |message: v2::Message| {
        let mut out = Vec::new();
        message.encode(MAX, &mut out).unwrap();
        BytesMut::from(&out[..])
    };
    let mut pong = encode(v2::Message::Pong(v2::Pong { id: 1 }));
    let error = worker.receive(&mut pong, &mut Vec::new()).unwrap_err();
    assert!(
        matches!(error, SessionError::Unexpected { got: "pong", .. }),
        "{error}"
    );
    let mut ping = encode(v2::Message::Ping(v2::Ping { id: 1 }));
    let error = session.receive(&mut ping).unwrap_err();
    assert!(
        matches!(error, SessionError::Unexpected { got: "ping", .. }),
        "{error}"
    );
}

#[test]
fn only_json_is_written_in_version_1() {
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
fn a_result_too_large_for_a_frame_leaves_nothing_behind() {
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

/// A worker that is yet to answer this hello, and the hello.
fn greeted(hello: Hello) -> (WorkerSession, AcceptedHello) {
    let mut to_worker = Vec::new();
    ClientSession::start(hello, MAX, &mut to_worker).unwrap();
    let mut worker = WorkerSession::with_deferred_hello(Features::ALL, MAX);
    let Some(WorkerEvent::Hello(greeting)) = received(&mut worker, &to_worker).unwrap() else {
        panic!("it says hello");
    };
    (worker, greeting)
}

/// The first event of these bytes, to which the worker itself says nothing.
fn received(worker: &mut WorkerSession, bytes: &[u8]) -> Result<Option<WorkerEvent>, SessionError> {
    let mut out = Vec::new();
    let event = worker.receive(&mut BytesMut::from(bytes), &mut out);
    assert!(out.is_empty());
    event
}

fn encoded(message: &v2::Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(MAX, &mut out).unwrap();
    out
}

/// The only frame in these bytes, which is of JSON.
fn text_of(bytes: &[u8]) -> String {
    let mut input = BytesMut::from(bytes);
    let body = FrameDecoder::new(1024).decode(&mut input).unwrap().unwrap();
    assert!(input.is_empty());
    String::from_utf8(body.to_vec()).unwrap()
}

fn raw_request(payload: &'static [u8]) -> Vec<u8> {
    let body = Body {
        codec: Codec::Raw,
        bytes: Bytes::from_static(payload),
    };
    encoded(&v2::Message::Request(v2::Request::new(
        9,
        Method::Index(3),
        body,
    )))
}

#[test]
fn a_worker_may_answer_the_hello_itself_while_what_it_agreed_to_is_in_force() {
    let (mut worker, greeting) = greeted(Hello {
        owner: true,
        ..Hello::new("test/1")
    });
    assert_eq!(
        (
            greeting.id,
            greeting.version,
            greeting.features,
            &*greeting.agent
        ),
        (1, Version::V2, Features::CALLS, "test/1")
    );
    assert!(worker.is_owned());
    let event = received(&mut worker, &raw_request(b"1")).unwrap();
    assert!(matches!(
        event,
        Some(WorkerEvent::Request {
            version: Version::V2,
            ..
        })
    ));
    let mut out = Vec::new();
    worker.respond_to_hello(&greeting, info(), &mut out);
    let mut client = client().0;
    assert_eq!(
        client.receive(&mut BytesMut::from(&out[..])).unwrap(),
        Some(ClientEvent::Ready)
    );
    let peer = client.peer().unwrap();
    assert_eq!(
        (peer.version(), peer.features()),
        (Version::V2, Features::CALLS)
    );
}

#[test]
fn nothing_is_in_force_after_a_hello_that_was_answered_with_an_error() {
    let doc = "x".repeat(MAX);
    let too_large = WorkerInfo {
        agent: doc,
        features: Features::ALL,
        ..WorkerInfo::default()
    };
    let hello = Hello {
        owner: true,
        ..Hello::new("test/1")
    };
    let mut to_worker = Vec::new();
    ClientSession::start(hello.clone(), MAX, &mut to_worker).unwrap();
    let mut worker = WorkerSession::new(too_large, MAX);
    let mut out = Vec::new();
    worker
        .receive(&mut BytesMut::from(&to_worker[..]), &mut out)
        .unwrap();
    let answer = String::from_utf8_lossy(&out);
    assert!(answer.contains("maximum frame size"), "{answer}");

    let (mut refused, _) = greeted(hello);
    refused.on_hello_rejected();
    for mut worker in [worker, refused] {
        assert!(!worker.is_owned());
        assert_eq!(worker.features(), Features::NONE);
        let error = received(&mut worker, &raw_request(b"1")).unwrap_err();
        assert!(matches!(error, SessionError::Message(_)), "{error}");
    }
}

#[test]
fn a_worker_that_drains_passes_over_requests_but_not_cancellations_and_pings() {
    let (mut session, mut worker) = handshake(Hello::new("test/1"));
    let mut out = Vec::new();
    worker.drain(&mut out);
    worker.drain(&mut out);
    let mut input = BytesMut::from(&out[..]);
    assert_eq!(
        session.receive(&mut input).unwrap(),
        Some(ClientEvent::Drain)
    );
    assert!(input.is_empty(), "it is said once");
    assert!(worker.is_draining());
    let in_v1 = frame(r#"{"id":5,"method":"m"}"#);
    for request in [&raw_request(b"1")[..], &in_v1] {
        assert_eq!(received(&mut worker, request).unwrap(), None);
    }
    let it = Cancellation {
        id: 5,
        reason: String::new(),
    };
    let event = received(
        &mut worker,
        &encoded(&v2::Message::Cancellation(it.clone())),
    )
    .unwrap();
    assert_eq!(event, Some(WorkerEvent::Cancellation(it)));
    let ping = encoded(&v2::Message::Ping(v2::Ping { id: 7 }));
    let mut out = Vec::new();
    assert_eq!(
        worker
            .receive(&mut BytesMut::from(&ping[..]), &mut out)
            .unwrap(),
        None
    );
    assert_eq!(out, encoded(&v2::Message::Pong(v2::Pong { id: 7 })));
}

#[test]
fn a_drain_is_said_when_the_client_understands_it_and_never_to_one_that_does_not() {
    let drain = encoded(&v2::Message::Drain);
    for (hello, said) in [(Hello::new("test/1"), true), (hello_of_v1(), false)] {
        let (mut worker, greeting) = greeted(hello);
        let mut out = Vec::new();
        worker.drain(&mut out);
        assert!(out.is_empty(), "the hello is not answered");
        worker.respond_to_hello(&greeting, info(), &mut out);
        assert_eq!(out.ends_with(&drain), said);
    }
    let mut worker = WorkerSession::new(info(), MAX);
    let mut out = Vec::new();
    worker.drain(&mut out);
    let (_, hello) = client();
    assert_eq!(
        worker
            .receive(&mut BytesMut::from(&hello[..]), &mut out)
            .unwrap(),
        None
    );
    assert!(out.is_empty(), "it takes no hello any more");
}

#[test]
fn a_cancellation_of_the_id_0_names_no_request() {
    let mut worker = WorkerSession::new(info(), MAX);
    let cancellation = frame(r#"{"type":"cancellation","payload":{"id":0}}"#);
    assert_eq!(received(&mut worker, &cancellation).unwrap(), None);
}

#[test]
fn a_farewell_fits_the_smallest_maximum_whatever_the_reason() {
    let mut worker = WorkerSession::new(info(), 1024);
    let error = SessionError::Refused {
        message: "x".repeat(2000),
    };
    let mut out = Vec::new();
    worker.write_error(&error, &mut out);
    let last = text_of(&out);
    assert!(last.contains(r#""id":0"#), "{last}");
    let error = received(&mut worker, b"\0\0\0\0").unwrap_err();
    let mut out = Vec::new();
    worker.write_error(&error, &mut out);
    let last = text_of(&out);
    assert!(
        last.contains("the frame at byte 0 of the stream is empty"),
        "{last}"
    );
}

#[test]
fn a_failure_too_long_for_a_frame_is_told_as_that() {
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
        let Some(ClientEvent::Response(answer)) = carried(&mut session, &worker, version, answer)
        else {
            panic!("it is an answer");
        };
        assert_eq!(
            answer.result.unwrap_err().message,
            "an error too long for a frame"
        );
    }
}

#[test]
fn a_raw_payload_that_has_begun_to_come_can_be_read_elsewhere() {
    let (_, mut worker) = handshake(Hello::new("test/1"));
    let payload = &[7; 100];
    let request = raw_request(payload);
    let (begin, rest) = request.split_at(50);
    let mut input = BytesMut::from(begin);
    assert_eq!(worker.receive(&mut input, &mut Vec::new()).unwrap(), None);
    assert!(
        worker.partial_request(&input, 101).is_none(),
        "it is shorter"
    );
    let begun = worker.partial_request(&input, 100).unwrap();
    assert_eq!((begun.payload_len, begun.request.id), (100, 9));
    assert_eq!([begun.received(&input), rest].concat(), payload);
    worker.take_partial_request(&begun, &mut input);
    assert!(input.is_empty());

    let mut input = frame(r#"{"id":5,"method":"m","body":1}"#);
    let behind = input.len();
    let event = worker.receive(&mut input, &mut Vec::new()).unwrap();
    assert!(matches!(event, Some(WorkerEvent::Request { request, .. }) if request.id == 5));
    let error = received(&mut worker, b"\0\0\0\0").unwrap_err();
    let SessionError::Frame(FrameError::Empty { offset }) = error else {
        panic!("{error}");
    };
    let (_, hello) = client();
    assert_eq!(offset as usize, hello.len() + request.len() + behind);
}

#[test]
fn only_large_raw_payloads_of_a_client_that_may_send_them_are_read_elsewhere() {
    let request = raw_request(&[7; 100]);
    let (_, worker) = handshake(Hello::new("test/1"));
    assert!(
        worker.partial_request(&request, 16).is_none(),
        "it is whole"
    );
    assert!(
        worker.partial_request(&request[..8], 16).is_none(),
        "its head is not"
    );
    let json = v2::Request::new(9, Method::Index(3), json(r#""a text of some length""#));
    let json = encoded(&v2::Message::Request(json));
    assert!(worker.partial_request(&json[..30], 16).is_none());

    let (_, mut draining) = handshake(Hello::new("test/1"));
    draining.drain(&mut Vec::new());
    let (_, of_v1) = handshake(hello_of_v1());
    for worker in [draining, of_v1] {
        assert!(worker.partial_request(&request[..50], 16).is_none());
    }
}
