//! A whole conversation with a peer that sends anything, in pieces of any size: both ends
//! yield events or a typed error, and what they write is always whole frames.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use pyproc_protocol::{
    ClientEvent, ClientSession, Features, FrameDecoder, Hello, WorkerEvent, WorkerInfo,
    WorkerSession,
    v1::Message,
    v2::{self, Response},
};

const MAX: usize = 4096;

fuzz_target!(|input: (u8, Vec<Vec<u8>>)| {
    let (flags, pieces) = input;
    // With a length prefix of its own, each piece is a frame, and the fuzzer need not guess it.
    let pieces: Vec<Vec<u8>> = pieces
        .into_iter()
        .map(|piece| {
            if flags & 1 == 0 {
                piece
            } else {
                framed(&piece)
            }
        })
        .collect();
    let version = 1 + u32::from(flags >> 1 & 1);
    as_client(version, &pieces);
    as_worker(version, &pieces);
});

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

fn as_client(version: u32, pieces: &[Vec<u8>]) {
    let mut session =
        ClientSession::start(Hello::new("fuzz"), MAX, &mut Vec::new()).expect("it fits");
    let mut input = BytesMut::new();
    if flagged(pieces) {
        let answer = format!(r#"{{"id":1,"ok":true,"body":{{"version":{version}}}}}"#);
        input.extend_from_slice(&framed(answer.as_bytes()));
    }
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match session.receive(&mut input) {
                Ok(Some(ClientEvent::Ready)) => assert!(session.peer().is_some()),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Whether the handshake is done for the fuzzer, which need not guess it then.
fn flagged(pieces: &[Vec<u8>]) -> bool {
    pieces.len() % 2 == 0
}

fn as_worker(version: u32, pieces: &[Vec<u8>]) {
    let info = WorkerInfo {
        features: Features::ALL,
        ..WorkerInfo::default()
    };
    let mut session = WorkerSession::new(info, MAX);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    if flagged(pieces) {
        let hello =
            format!(r#"{{"id":1,"method":"pyproc.hello","body":{{"versions":[1,{version}]}}}}"#);
        input.extend_from_slice(&framed(hello.as_bytes()));
    }
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match session.receive(&mut input, &mut output) {
                Ok(Some(WorkerEvent::Request { version, request })) => {
                    let answer = Response::success(request.id, request.body);
                    let _ = session.respond(version, answer, &mut output);
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    drop(session.partial_request(&input, 16));
                    break;
                }
                Err(error) => {
                    session.write_error(&error, &mut output);
                    return whole_frames(&output);
                }
            }
        }
    }
    whole_frames(&output);
}

fn whole_frames(output: &[u8]) {
    let mut decoder = FrameDecoder::new(MAX);
    let mut rest = BytesMut::from(output);
    while let Some(frame) = decoder.decode(&mut rest).expect("our own frames") {
        match frame[0] {
            b'{' => drop(Message::decode(&frame).expect("our own message")),
            _ => drop(v2::Message::decode(&frame).expect("our own message")),
        }
    }
    assert!(rest.is_empty());
}
