//! Both ends of the handshake in conversation, without a socket.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use bytes::BytesMut;
use pyproc_protocol::{
    Cancellation, ERROR_TYPE, Event, Features, Hello, Message, Peer, RawJson, Request, Response,
    Session, SessionError, VERSION_1, WorkerEvent, WorkerInfo, WorkerSession,
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
fn client() -> (Session, Vec<u8>) {
    let mut out = Vec::new();
    let session = Session::start(Hello::new("test/1"), MAX, &mut out).unwrap();
    (session, out)
}

/// Both ends after the handshake.
fn handshake(hello: Hello) -> (Session, WorkerSession) {
    let (mut to_worker, mut to_client) = (Vec::new(), Vec::new());
    let mut session = Session::start(hello, MAX, &mut to_worker).unwrap();
    let mut worker = WorkerSession::new(info(), MAX);
    let mut input = BytesMut::from(&to_worker[..]);
    assert_eq!(worker.receive(&mut input, &mut to_client).unwrap(), None);
    let mut input = BytesMut::from(&to_client[..]);
    assert_eq!(session.receive(&mut input).unwrap(), Some(Event::Ready));
    (session, worker)
}

fn answered(json: &str) -> Result<Option<Event>, SessionError> {
    client().0.receive(&mut frame(json))
}

#[test]
fn new_peers_agree_on_version_and_features() {
    let (session, worker) = handshake(Hello {
        owner: true,
        ..Hello::new("test/1")
    });
    let Some(Peer::Introduced(info)) = session.peer() else {
        panic!("{:?}", session.peer());
    };
    assert_eq!(
        (info.version, info.features, info.pid),
        (VERSION_1, Features::ALL, 7)
    );
    assert!(worker.is_owned());
}

#[test]
fn an_old_worker_keeps_the_session_on_version_1_without_features() {
    let (mut session, _) = client();
    let mut answer = frame(r#"{"id":1,"ok":false,"error":"Method 'pyproc.hello' not found"}"#);
    assert_eq!(session.receive(&mut answer).unwrap(), Some(Event::Ready));
    let peer = session.peer().unwrap();
    assert_eq!(
        (peer.version(), peer.features()),
        (VERSION_1, Features::NONE)
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
    let mut session = Session::start(Hello::new("t"), 1 << 20, &mut Vec::new()).unwrap();
    let json = format!(r#"{{"id":1,"ok":true,"body":{{"version":1,"functions":[{functions}]}}}}"#);
    let error = session.receive(&mut frame(&json)).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("4097"), "{source}");
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
    let response = Response::success(5, RawJson::parse("1").unwrap());
    assert_eq!(
        session.receive(&mut input).unwrap(),
        Some(Event::Response(response))
    );
    let error = session
        .receive(&mut frame(r#"{"id":5,"method":"m"}"#))
        .unwrap_err();
    assert!(
        matches!(error, SessionError::Unexpected { got: "request", .. }),
        "{error}"
    );
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
    let first = Request::new(5, "m", RawJson::parse("1").unwrap());
    assert_eq!(next(), WorkerEvent::Request(first));
    assert_eq!(
        next(),
        WorkerEvent::Request(Request::new(6, "m", RawJson::NULL))
    );
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
    assert!(worker.receive(&mut frame("nonsense"), &mut out).is_err());
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
    assert!(String::from_utf8_lossy(&out).contains("speaks version 1"));
    assert!(
        worker
            .receive(&mut frame(r#"{"id":2,"method":"m"}"#), &mut out)
            .unwrap()
            .is_some()
    );
}

#[test]
fn details_of_an_error_go_only_to_a_client_that_asked_for_them() {
    let mut response = Response::failure(3, "no such model");
    response
        .headers
        .insert(ERROR_TYPE.into(), "KeyError".into());

    let (_, asked) = handshake(Hello::new("test/1"));
    let mut out = Vec::new();
    asked.respond(response.clone(), &mut out).unwrap();
    assert!(String::from_utf8_lossy(&out).contains("KeyError"));

    let never_asked = WorkerSession::new(info(), MAX);
    let mut out = Vec::new();
    never_asked.respond(response, &mut out).unwrap();
    assert_eq!(&out[4..], br#"{"id":3,"ok":false,"error":"no such model"}"#);
}
