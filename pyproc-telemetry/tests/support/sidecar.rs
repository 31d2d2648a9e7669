//! A worker in this process, over a real socket, that does with each request as the test says. It
//! lists one function, `listed`.
#![allow(dead_code, unreachable_pub, reason = "each user takes its part")]

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::BytesMut;
use pyproc_pool::protocol::{
    DEFAULT_MAX_FRAME_SIZE, Features, FrameDecoder, FunctionInfo, HELLO_METHOD, Times, WorkerEvent,
    WorkerInfo, WorkerSession, v1,
    v2::{Body, Request, Response, telemetry::Record},
};

/// What becomes of a request.
pub enum Reply {
    Answer(Response),
    Never,
    /// The worker hangs up. The pool may connect again.
    Die,
    /// First some records, then this.
    After(Vec<Record>, Box<Self>),
}

/// An empty directory with a short path, removed on drop.
pub struct Sockets(PathBuf);

impl Sockets {
    pub fn new() -> Self {
        // The temporary directory of macOS is too long for a socket.
        let dir = Path::new("/tmp").join(format!("pt-{:x}", fastrand::u64(..)));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Serves one connection after another.
pub fn serve(socket: &Path, reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    let reply = Arc::new(reply);
    thread::spawn(move || {
        for stream in listener.incoming() {
            conversation(stream.unwrap(), &*reply);
        }
    });
}

/// Serves one connection after another as an old worker does: it knows version 1 alone, and no hello. Each call of a function whose
/// name begins with `made up` fails, others return 1.
pub fn serve_old(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            old_conversation(stream.unwrap());
        }
    });
}

fn old_conversation(mut stream: UnixStream) {
    let mut decoder = FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut buffer = [0; 4096];
    loop {
        while let Some(frame) = decoder.decode(&mut input).unwrap() {
            let v1::Message::Request(request) = v1::Message::decode(&frame).unwrap() else {
                continue;
            };
            let (id, method) = (request.id, request.method);
            let response = match method == HELLO_METHOD || method.starts_with("made up") {
                true => v1::Response::failure(id, format!("Method '{method}' not found")),
                false => v1::Response::success(id, v1::RawJson::encode(&1).unwrap()),
            };
            response
                .encode(DEFAULT_MAX_FRAME_SIZE, &mut output)
                .unwrap();
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

/// The input as the result, after having run for so long at this very moment.
pub fn echo(request: &Request, ran: Duration) -> Reply {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let times = Times {
        start: now - ran,
        duration: ran,
    };
    Reply::Answer(Response {
        times: Some(times).filter(|_| request.wants_times),
        ..Response::success(request.id, Body::json(request.body.bytes.clone()))
    })
}

fn conversation(mut stream: UnixStream, reply: &dyn Fn(&Request) -> Reply) {
    let mut session = WorkerSession::new(info(), DEFAULT_MAX_FRAME_SIZE);
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut buffer = [0; 4096];
    loop {
        while let Some(event) = session.receive(&mut input, &mut output).unwrap() {
            let WorkerEvent::Request { version, request } = event else {
                continue;
            };
            let mut reply = reply(&request);
            while let Reply::After(records, then) = reply {
                for record in &records {
                    session.send_record(record, &mut output).unwrap();
                }
                reply = *then;
            }
            match reply {
                Reply::Answer(answer) => session.respond(version, answer, &mut output).unwrap(),
                Reply::Die => {
                    // Whoever listened may be gone.
                    let _ = stream.write_all(&output);
                    return;
                }
                Reply::Never | Reply::After(..) => {}
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
