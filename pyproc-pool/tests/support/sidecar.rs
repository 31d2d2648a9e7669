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
    v2::{
        Request, Response,
        telemetry::{Record, encode_frame},
    },
};

/// Serves one connection with `respond`, and passes on the requests that came.
pub fn serve(
    socket: &Path,
    respond: impl Fn(&Request) -> Option<Response> + Send + 'static,
) -> Receiver<Request> {
    serve_reporting(socket, move |request| Reply {
        answer: respond(request),
        ..Reply::default()
    })
}

/// How a worker answers a request.
#[derive(Default)]
pub struct Reply {
    /// Before the answer.
    pub records: Vec<Record>,
    /// After these: the lines of one more frame of telemetry.
    pub lines: &'static [u8],
    pub answer: Option<Response>,
    /// After the answer.
    pub hang_up: bool,
}

impl Reply {
    pub fn echo(request: &Request, records: Vec<Record>) -> Self {
        Self {
            records,
            lines: b"",
            answer: Some(Response::success(request.id, request.body.clone())),
            hang_up: false,
        }
    }
}

/// The same with what the worker reports, as far as its client wants it. It serves one connection after another.
pub fn serve_reporting(
    socket: &Path,
    reply: impl Fn(&Request) -> Reply + Send + 'static,
) -> Receiver<Request> {
    let listener = UnixListener::bind(socket).unwrap();
    let (seen, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            conversation(stream.unwrap(), |request| {
                let reply = reply(&request);
                // The test may have seen enough.
                let _ = seen.send(request);
                reply
            });
        }
    });
    requests
}

fn conversation(mut stream: UnixStream, mut reply: impl FnMut(Request) -> Reply) {
    let mut session = WorkerSession::new(info(), DEFAULT_MAX_FRAME_SIZE);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut buffer = [0; 4096];
    let mut hang_up = false;
    loop {
        while let Some(event) = session.receive(&mut input, &mut output).unwrap() {
            let WorkerEvent::Request { version, request } = event else {
                continue;
            };
            let reply = reply(request);
            for record in &reply.records {
                session.send_record(record, &mut output).unwrap();
            }
            if !reply.lines.is_empty() {
                encode_frame(reply.lines, DEFAULT_MAX_FRAME_SIZE, &mut output).unwrap();
            }
            if let Some(answer) = reply.answer {
                session.respond(version, answer, &mut output).unwrap();
            }
            hang_up |= reply.hang_up;
        }
        if stream.write_all(&std::mem::take(&mut output)).is_err() || hang_up {
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
