//! An OTLP collector over HTTP that does as it is told, and decodes what arrives.
#![allow(dead_code, reason = "each test uses a part")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value},
    trace::v1::Span,
};
use prost::Message;

/// Long enough for the slowest machine; a test that waits this long fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What the collector does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    Take,
    /// Takes it, and closes the connection without having said so.
    TakeLast,
    /// Takes all but so many.
    Partly(i64),
    /// Takes it, and answers this.
    Answer(Vec<u8>),
    Status(u16, &'static str),
    /// Closes the connection without an answer.
    Close,
    /// Keeps the connection, and says nothing.
    Hang,
}

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    reply: Box<dyn Fn(usize) -> Reply + Send + Sync>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    taken: Mutex<Vec<Received>>,
}

#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// As it was before it was compressed.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The body as spans.
    pub(crate) fn request(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&*self.body).unwrap()
    }
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::replying(|_| Reply::Take)
    }

    /// `reply` gets the number of the request, from 0.
    pub(crate) fn replying(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            reply: Box::new(reply),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            taken: Mutex::default(),
        });
        let theirs = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&theirs);
                state.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(&state, stream.unwrap()));
            }
        });
        Self { address, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn taken(&self) -> Vec<Received> {
        self.state.taken.lock().unwrap().clone()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        spans(self.taken().into_iter().map(|received| received.request()))
    }
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub(crate) fn spans(requests: impl IntoIterator<Item = ExportTraceServiceRequest>) -> Vec<Span> {
    requests
        .into_iter()
        .flat_map(|request| request.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

pub(crate) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

/// Waits until it holds.
pub(crate) fn eventually(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to hold");
        thread::sleep(Duration::from_millis(2));
    }
}

fn serve(state: &State, stream: TcpStream) {
    serve_on(state, &stream, &stream);
}

pub(crate) fn read_request(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_owned(), value.to_owned()),
            None => break,
        };
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    if headers
        .get("content-encoding")
        .is_some_and(|it| it == "gzip")
    {
        body = gunzip(&body);
    }
    Some(Received {
        path,
        headers,
        body,
    })
}

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

fn serve_on(state: &State, input: impl Read, mut output: impl Write) {
    let mut reader = BufReader::new(input);
    while let Some(received) = read_request(&mut reader) {
        let number = state.requests.fetch_add(1, Ordering::SeqCst);
        let response = match (state.reply)(number) {
            Reply::Take => {
                state.taken.lock().unwrap().push(received);
                success(None)
            }
            Reply::TakeLast => {
                state.taken.lock().unwrap().push(received);
                let _ = output.write_all(&success(None));
                return;
            }
            Reply::Partly(rejected) => {
                state.taken.lock().unwrap().push(received);
                success(Some(rejected))
            }
            Reply::Answer(body) => {
                state.taken.lock().unwrap().push(received);
                answer(&body)
            }
            Reply::Status(status, headers) => {
                format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n").into_bytes()
            }
            Reply::Close => return,
            Reply::Hang => {
                // Until the other side gives up.
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        if output.write_all(&response).is_err() {
            return;
        }
    }
}

pub(crate) fn success(rejected: Option<i64>) -> Vec<u8> {
    let response = ExportTraceServiceResponse {
        partial_success: rejected.map(|rejected_spans| ExportTracePartialSuccess {
            rejected_spans,
            error_message: "too old".into(),
        }),
    };
    answer(&response.encode_to_vec())
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
