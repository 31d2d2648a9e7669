//! Cancellations, pings, drains, and messages that a side must not send.

use bytes::BytesMut;
use pyproc_protocol::{
    Cancellation, ClientEvent, Hello, SessionError, WorkerEvent, WorkerSession,
    v1::Message,
    v2::{self, Response},
};

use crate::{
    MAX, client, encoded, frame, handshake, hello_of_v1, info, json, raw_request, received,
    text_of, with_hello,
};

#[test]
fn an_error_of_the_connection_ends_the_session_with_the_workers_reason() {
    let (mut session, _) = handshake(Hello::new("test/1"));
    let error = session
        .receive(&mut frame(r#"{"id":0,"ok":false,"error":"huh"}"#))
        .unwrap_err();
    assert!(matches!(error, SessionError::Refused { message } if message == "huh"));
}

#[test]
fn a_client_rejects_requests_and_skips_unknown_messages() {
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
fn a_worker_sends_the_reason_before_it_closes_the_connection() {
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
fn both_ends_reject_binary_frames_unless_the_hello_chose_version_2() {
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
fn the_session_responds_to_pings_and_skips_unknown_kinds() {
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
fn a_message_of_the_wrong_side_is_rejected() {
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
fn a_draining_worker_ignores_requests_but_not_cancellations_and_pings() {
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
fn a_drain_is_sent_after_the_handshake_and_only_in_version_2() {
    let drain = encoded(&v2::Message::Drain);
    for (hello, said) in [(Hello::new("test/1"), true), (hello_of_v1(), false)] {
        let (mut worker, hello) = with_hello(hello);
        let mut out = Vec::new();
        worker.drain(&mut out);
        assert!(out.is_empty(), "the hello is not answered");
        worker.respond_to_hello(&hello, info(), &mut out);
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
fn the_last_error_fits_the_smallest_maximum_frame_size() {
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
