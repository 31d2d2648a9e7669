//! A worker of version 2 in this process, over a real socket: what a test wants to see of requests
//! is not in Python's way.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::mpsc::{Receiver, channel},
    thread,
};

use bytes::BytesMut;
use pyproc_pool::protocol::{
    DEFAULT_MAX_FRAME_SIZE, Features, FunctionInfo, WorkerEvent, WorkerInfo, WorkerSession,
    v2::{Answer, Request},
};

/// Serves one connection with `respond`, and passes on the requests that came.
pub fn serve(
    socket: &Path,
    respond: impl Fn(&Request) -> Option<Answer> + Send + 'static,
) -> Receiver<Request> {
    let listener = UnixListener::bind(socket).unwrap();
    let (seen, requests) = channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        conversation(stream, |request| {
            let answer = respond(&request);
            // The test may have seen enough.
            let _ = seen.send(request);
            answer
        });
    });
    requests
}

fn conversation(mut stream: UnixStream, mut respond: impl FnMut(Request) -> Option<Answer>) {
    let mut session = WorkerSession::new(info(), DEFAULT_MAX_FRAME_SIZE);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut buffer = [0; 4096];
    loop {
        while let Some(event) = session.receive(&mut input, &mut output).unwrap() {
            let WorkerEvent::Request { version, request } = event else {
                continue;
            };
            if let Some(answer) = respond(request) {
                session.respond(version, answer, &mut output).unwrap();
            }
        }
        if stream.write_all(&std::mem::take(&mut output)).is_err() {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => input.extend_from_slice(&buffer[..read]),
        }
    }
}

fn info() -> WorkerInfo {
    let listed = FunctionInfo {
        name: "listed".into(),
        doc: String::new(),
        parameters: serde_json::Value::Null,
        returns: serde_json::Value::Null,
        concurrent: false,
    };
    WorkerInfo {
        features: Features::ALL,
        functions: vec![listed],
        ..WorkerInfo::default()
    }
}
