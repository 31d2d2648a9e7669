//! The scripted streams, played to a worker made of a [`WorkerSession`] and four functions. The workers in Python are held against the
//! same file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, fs, path::Path};

use bytes::{Bytes, BytesMut};
use pyproc_protocol::{
    Codec, DEFAULT_MAX_FRAME_SIZE, Failure, Features, FrameDecoder, FunctionInfo, Version,
    WorkerEvent, WorkerInfo, WorkerSession,
    v2::{self, Body, Message, Method, Response},
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct File {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    rules: Vec<String>,
    version: u32,
    send: Vec<Item>,
    receive: Vec<Value>,
    then: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Hex {
        hex: String,
    },
    Frame {
        frame: String,
    },
    Json {
        json: String,
    },
    Binary {
        kind: u8,
        id: u64,
        #[serde(default)]
        flags: u8,
        #[serde(default)]
        codec: u8,
        method: Option<String>,
        index: Option<u16>,
        #[serde(default)]
        payload: String,
    },
}

impl Item {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Hex { hex } => unhex(hex),
            Self::Frame { frame } => framed(&unhex(frame)),
            Self::Json { json } => framed(json.as_bytes()),
            Self::Binary {
                kind,
                id,
                flags,
                codec,
                method,
                index,
                payload,
            } => {
                let mut body = vec![*kind, *flags, *codec, 0];
                body.extend(id.to_be_bytes());
                if let Some(name) = method {
                    body.extend((name.len() as u16).to_be_bytes());
                    body.extend(name.as_bytes());
                }
                body.extend(index.iter().flat_map(|it| it.to_be_bytes()));
                body.extend(payload.as_bytes());
                framed(&body)
            }
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

const FUNCTIONS: [&str; 6] = ["echo", "fail", "health", "later", "length", "raw"];

fn info() -> WorkerInfo {
    let listed = |name: &str| FunctionInfo {
        name: name.into(),
        doc: String::new(),
        parameters: Value::Null,
        returns: Value::Null,
        concurrent: false,
    };
    WorkerInfo {
        features: Features::ALL,
        functions: FUNCTIONS.map(listed).into(),
        ..WorkerInfo::default()
    }
}

/// A worker that runs each request when it has read it; what it writes, and whether it closed the connection.
fn answers(mut session: WorkerSession, stream: &Stream) -> (Vec<u8>, &'static str) {
    let (mut input, mut out) = (BytesMut::new(), Vec::new());
    if stream.version == 2 {
        let hello = r#"{"id":1,"method":"pyproc.hello","body":{"versions":[1,2],"features":["error-details","cancel"]}}"#;
        input.extend_from_slice(&framed(hello.as_bytes()));
        if let Some(WorkerEvent::Hello(greeting)) = session.receive(&mut input, &mut out).unwrap() {
            session.respond_to_hello(&greeting, info(), &mut out);
        }
        out.clear();
    }
    stream
        .send
        .iter()
        .for_each(|it| input.extend_from_slice(&it.bytes()));
    loop {
        match session.receive(&mut input, &mut out) {
            Ok(Some(WorkerEvent::Request { version, request })) => {
                let result = run(version, &request).map_err(Box::new);
                let answer = Response {
                    id: request.id,
                    times: None,
                    result,
                };
                session.respond(version, answer, &mut out).unwrap();
            }
            Ok(Some(WorkerEvent::Hello(greeting))) => {
                session.respond_to_hello(&greeting, info(), &mut out);
            }
            Ok(Some(_)) => {}
            // The rest of that frame will not come, which is the caller's concern.
            Ok(None) if !input.is_empty() => return (out, "ended"),
            Ok(None) => return (out, "open"),
            Err(error) => {
                session.write_error(&error, &mut out);
                return (out, "closed");
            }
        }
    }
}

fn run(version: Version, request: &v2::Request) -> Result<Body, Failure> {
    let name = match &request.method {
        Method::Name(name) => name.clone(),
        Method::Index(index) => {
            let listed = FUNCTIONS.get(usize::from(*index));
            listed.map_or_else(|| format!("#{index}"), |it| (*it).to_owned())
        }
    };
    if !FUNCTIONS.contains(&&*name) {
        let message = format!("Method '{name}' not found");
        return Err(failure("pyproc_worker.MethodNotFound", &message));
    }
    let json = |value: &Value| Body::json(serde_json::to_vec(value).unwrap().into());
    let bytes = &request.body.bytes;
    let body = match request.body.codec {
        Codec::Json => serde_json::from_slice(bytes)
            .map_err(|error| failure("pyproc_worker.InvalidRequest", &error.to_string()))?,
        Codec::Raw => Value::from(str::from_utf8(bytes).unwrap()),
        _ => return Err(failure("pyproc_worker.InvalidRequest", "unknown codec")),
    };
    match &*name {
        "fail" => Err(failure("ValueError", body.as_str().unwrap())),
        "health" => Ok(json(&serde_json::json!({"status": "healthy", "pid": 1}))),
        "length" => Ok(json(&match &body {
            Value::Array(array) => array.len().into(),
            text => text.as_str().unwrap().len().into(),
        })),
        "raw" if version == Version::V2 => Ok(Body {
            codec: Codec::Raw,
            bytes: body.as_str().unwrap().to_owned().into(),
        }),
        _ => Ok(json(&body)),
    }
}

fn failure(type_name: &str, message: &str) -> Failure {
    Failure {
        type_name: type_name.into(),
        message: message.into(),
        ..Failure::default()
    }
}

/// A message in the words of the file.
fn describe(frame: &Bytes, expected: &Value) -> Value {
    if frame[0] == b'{' {
        return describe_json(frame, expected);
    }
    match Message::decode(frame).unwrap() {
        Message::Pong(pong) => serde_json::json!({"kind": 9, "id": pong.id}),
        Message::Response(Response {
            id,
            result: Ok(body),
            times: None,
        }) => {
            let codec = if body.codec == Codec::Raw { 2 } else { 0 };
            let mut it = serde_json::json!({"kind": 2, "id": id, "codec": codec});
            if !expected["payload"].is_null() {
                it["payload"] = str::from_utf8(&body.bytes).unwrap().into();
            }
            it
        }
        Message::Response(Response {
            id,
            result: Err(failure),
            times: None,
        }) => {
            let mut it = serde_json::json!({"kind": 3, "id": id, "type": failure.type_name});
            if !expected["message"].is_null() {
                it["message"] = failure.message.into();
            }
            if !expected["times"].is_null() {
                it["times"] = false.into();
            }
            it
        }
        other => panic!("{other:?}"),
    }
}

fn describe_json(frame: &Bytes, expected: &Value) -> Value {
    let mut it: Value = serde_json::from_slice(frame).unwrap();
    if expected["error"] == true && it["error"].is_string() {
        it["error"] = true.into();
    }
    let only = |wanted: &Value, mut found: Value| {
        if let (Some(wanted), Some(found)) = (wanted.as_object(), found.as_object_mut()) {
            found.retain(|key, _| wanted.contains_key(key));
        }
        found
    };
    if !expected["hello"].is_null() {
        let body = it.as_object_mut().unwrap().remove("body").unwrap();
        it["hello"] = only(&expected["hello"], body);
    } else if expected["body"].is_object() {
        it["body"] = only(&expected["body"], it["body"].take());
    }
    it
}

/// Of the same id in their order; of different ones there is none.
fn by_id<T>(messages: Vec<T>, id: impl Fn(&T) -> u64) -> BTreeMap<u64, Vec<T>> {
    let mut found: BTreeMap<u64, Vec<T>> = BTreeMap::new();
    for message in messages {
        found.entry(id(&message)).or_default().push(message);
    }
    found
}

fn id_of(frame: &Bytes) -> u64 {
    match frame[0] {
        b'{' => serde_json::from_slice::<Value>(frame).unwrap()["id"]
            .as_u64()
            .unwrap(),
        _ => u64::from_be_bytes(frame[4..12].try_into().unwrap()),
    }
}

fn streams() -> Vec<Stream> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/streams.json");
    let file: File = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    file.streams
}

#[test]
fn streams_are_answered_as_written() {
    played(|| WorkerSession::new(info(), DEFAULT_MAX_FRAME_SIZE));
}

#[test]
fn streams_are_answered_as_written_by_a_worker_that_answers_the_hello_itself() {
    played(|| WorkerSession::with_deferred_hello(Features::ALL, DEFAULT_MAX_FRAME_SIZE));
}

fn played(session: impl Fn() -> WorkerSession) {
    let streams = streams();
    assert!(streams.len() > 100);
    for stream in &streams {
        let (out, end) = answers(session(), stream);
        assert_eq!(end, stream.then, "{}", stream.name);
        let mut decoder = FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE);
        let mut input = BytesMut::from(&out[..]);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.decode(&mut input).unwrap() {
            frames.push(frame);
        }
        let expected = by_id(stream.receive.clone(), |it| it["id"].as_u64().unwrap());
        let frames = by_id(frames, id_of);
        let described: BTreeMap<_, Vec<_>> = frames
            .iter()
            .map(|(id, frames)| {
                let expected = expected.get(id).into_iter().flatten();
                let null = std::iter::repeat(&Value::Null);
                let pairs = frames.iter().zip(expected.chain(null));
                (*id, pairs.map(|(frame, it)| describe(frame, it)).collect())
            })
            .collect();
        assert_eq!(described, expected, "{}", stream.name);
    }
}

#[test]
fn each_stream_names_rules_that_the_specification_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = ["SPEC.md", "SPEC-V2.md"].map(|it| fs::read_to_string(root.join(it)).unwrap());
    let rules: Vec<&str> = text
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**"))
        .map(|(rule, _)| rule)
        .collect();
    let mut unique = rules.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), rules.len(), "no id is given twice");
    for stream in streams() {
        for rule in &stream.rules {
            assert!(rules.contains(&&**rule), "{}: {rule}", stream.name);
        }
    }
}
