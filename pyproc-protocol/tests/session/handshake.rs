//! The handshake: which version and features are in force.

use bytes::BytesMut;
use pyproc_protocol::{
    ClientEvent, ClientSession, Features, Hello, Peer, SessionError, Version, WorkerEvent,
    WorkerInfo, WorkerSession,
};

use crate::{MAX, answered, client, frame, handshake, info, raw_request, received, with_hello};

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
fn a_worker_without_the_hello_means_version_1_without_features() {
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
fn only_features_that_both_sides_support_are_in_force() {
    let mut hello = Hello::new("test/1");
    hello.features.cancel = false;
    let (session, _) = handshake(hello);
    let features = session.peer().unwrap().features();
    assert!(features.error_details && !features.cancel);
}

#[test]
fn there_is_no_peer_before_the_response_to_the_hello() {
    let (mut session, _) = client();
    assert_eq!(session.peer(), None);
    assert_eq!(session.receive(&mut BytesMut::new()).unwrap(), None);
}

#[test]
fn a_worker_that_chooses_a_version_that_was_not_offered_is_rejected() {
    let error = answered(r#"{"id":1,"ok":true,"body":{"version":9}}"#).unwrap_err();
    assert!(
        matches!(error, SessionError::Version { version: 9 }),
        "{error}"
    );
}

#[test]
fn a_response_to_the_hello_with_another_id_is_rejected() {
    let error = answered(r#"{"id":2,"ok":true,"body":{"version":1}}"#).unwrap_err();
    assert!(
        matches!(error, SessionError::HelloId { id: 2, expected: 1 }),
        "{error}"
    );
}

#[test]
fn a_response_to_the_hello_with_an_invalid_body_is_rejected() {
    let error = answered(r#"{"id":1,"ok":true,"body":"hi"}"#).unwrap_err();
    assert!(matches!(error, SessionError::HelloBody(_)), "{error}");
}

#[test]
fn too_many_functions_are_rejected() {
    let functions = vec![r#"{"name":"f"}"#; 4097].join(",");
    let mut session = ClientSession::start(Hello::new("t"), 1 << 20, &mut Vec::new()).unwrap();
    let json = format!(r#"{{"id":1,"ok":true,"body":{{"version":1,"functions":[{functions}]}}}}"#);
    let error = session.receive(&mut frame(&json)).unwrap_err();
    assert!(error.to_string().contains("4097"), "{error}");
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
fn a_hello_without_a_common_version_is_an_error_and_the_session_goes_on() {
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
fn the_highest_supported_version_is_chosen_and_unknown_ones_are_ignored() {
    for (versions, chosen) in [("[2]", 2), ("[1,2,3]", 2), ("[1.0,-1,2.5,1e300]", 1)] {
        let (_, answer) = answer_to_hello(&format!(r#"{{"versions":{versions}}}"#));
        assert!(
            answer.contains(&format!(r#""version":{chosen}"#)),
            "{answer}"
        );
    }
}

#[test]
fn members_of_a_hello_may_be_null_but_not_of_another_type() {
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
fn optional_members_of_the_response_to_a_hello_may_be_null() {
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
fn a_deferred_hello_is_in_force_before_its_response() {
    let (mut worker, hello) = with_hello(Hello {
        owner: true,
        ..Hello::new("test/1")
    });
    assert_eq!(
        (hello.id, hello.version, hello.features, &*hello.agent),
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
    worker.respond_to_hello(&hello, info(), &mut out);
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
fn nothing_is_in_force_after_an_error_in_response_to_a_hello() {
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

    let (mut refused, _) = with_hello(hello);
    refused.on_hello_rejected();
    for mut worker in [worker, refused] {
        assert!(!worker.is_owned());
        assert_eq!(worker.features(), Features::NONE);
        let error = received(&mut worker, &raw_request(b"1")).unwrap_err();
        assert!(matches!(error, SessionError::Message(_)), "{error}");
    }
}
