//! Frames that are longer than the maximum, and large raw payloads.

use bytes::BytesMut;
use pyproc_protocol::{
    ClientEvent, FrameError, Hello, SessionError, Version, WorkerEvent,
    v2::{self, Method, Response},
};

use crate::{MAX, client, encoded, frame, handshake, hello_of_v1, json, raw_request, received};

/// A frame of version 2 whose prefix announces `len` bytes, as far as `sent`.
fn beginning(kind: u8, len: u32, sent: usize) -> BytesMut {
    let mut bytes = BytesMut::from(&len.to_be_bytes()[..]);
    bytes.extend_from_slice(&[kind]);
    bytes.resize(sent, 0);
    bytes
}

#[test]
fn telemetry_longer_than_the_maximum_is_skipped_without_memory() {
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
fn a_frame_too_long_of_a_required_kind_ends_the_session() {
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
fn the_rest_of_a_partial_raw_payload_can_be_read_by_the_caller() {
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
fn only_large_raw_payloads_of_version_2_are_partial_requests() {
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
