//! Both ends of a connection, [`ClientSession`] and [`WorkerSession`], without a socket.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod calls;
mod control;
mod handshake;
mod large;

use bytes::{Bytes, BytesMut};
use pyproc_protocol::{
    AcceptedHello, ClientEvent, ClientSession, Codec, Features, FrameDecoder, Hello, SessionError,
    Version, WorkerEvent, WorkerInfo, WorkerSession,
    v2::{self, Body, Method, Response},
};

pub(crate) const MAX: usize = 64 * 1024;

pub(crate) fn frame(json: &str) -> BytesMut {
    let mut frame = BytesMut::from(&(json.len() as u32).to_be_bytes()[..]);
    frame.extend_from_slice(json.as_bytes());
    frame
}

pub(crate) fn info() -> WorkerInfo {
    WorkerInfo {
        features: Features::ALL,
        agent: "test/1".into(),
        pid: 7,
        ..WorkerInfo::default()
    }
}

/// A client that has sent its hello.
pub(crate) fn client() -> (ClientSession, Vec<u8>) {
    let mut out = Vec::new();
    let session = ClientSession::start(Hello::new("test/1"), MAX, &mut out).unwrap();
    (session, out)
}

pub(crate) fn json(text: &'static str) -> Body {
    Body::json(Bytes::from_static(text.as_bytes()))
}

/// A request by name.
pub(crate) fn request(id: u64, body: &'static str) -> v2::Request {
    v2::Request::new(id, Method::Name("m".into()), json(body))
}

/// A hello of a client from before version 2.
pub(crate) fn hello_of_v1() -> Hello {
    Hello {
        versions: vec![1],
        ..Hello::new("test/1")
    }
}

/// The worker's response, as the client decodes it.
pub(crate) fn transferred(
    session: &mut ClientSession,
    worker: &WorkerSession,
    version: Version,
    response: Response,
) -> Option<ClientEvent> {
    let mut out = Vec::new();
    worker.respond(version, response, &mut out).unwrap();
    session.receive(&mut BytesMut::from(&out[..])).unwrap()
}

/// Both ends after the handshake.
pub(crate) fn handshake(hello: Hello) -> (ClientSession, WorkerSession) {
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

pub(crate) fn answered(json: &str) -> Result<Option<ClientEvent>, SessionError> {
    client().0.receive(&mut frame(json))
}

/// The first event of these bytes, to which the worker itself says nothing.
pub(crate) fn received(
    worker: &mut WorkerSession,
    bytes: &[u8],
) -> Result<Option<WorkerEvent>, SessionError> {
    let mut out = Vec::new();
    let event = worker.receive(&mut BytesMut::from(bytes), &mut out);
    assert!(out.is_empty());
    event
}

pub(crate) fn encoded(message: &v2::Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(MAX, &mut out).unwrap();
    out
}

/// The only frame in these bytes, which is of JSON.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let mut input = BytesMut::from(bytes);
    let body = FrameDecoder::new(1024).decode(&mut input).unwrap().unwrap();
    assert!(input.is_empty());
    String::from_utf8(body.to_vec()).unwrap()
}

/// A worker that is yet to answer this hello, and the hello.
pub(crate) fn with_hello(hello: Hello) -> (WorkerSession, AcceptedHello) {
    let mut to_worker = Vec::new();
    ClientSession::start(hello, MAX, &mut to_worker).unwrap();
    let mut worker = WorkerSession::with_deferred_hello(Features::ALL, MAX);
    let Some(WorkerEvent::Hello(greeting)) = received(&mut worker, &to_worker).unwrap() else {
        panic!("it says hello");
    };
    (worker, greeting)
}

pub(crate) fn raw_request(payload: &'static [u8]) -> Vec<u8> {
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
