//! A worker like the published 0.1.0, in this process: it knows no hello, and serves one connection at a time and one
//! request after another.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::mpsc::Receiver,
    thread::{self, JoinHandle},
};

use serde_json::{Value, json};

/// A request, and which of the worker's connections it came on, counted from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub id: u64,
    pub method: String,
    pub body: Value,
    pub connection: usize,
}

/// What the worker does with a request.
pub enum Act {
    Answer(Value),
    /// As it does with a result that it cannot write: an error without an id, and on to the next connection.
    Nameless(&'static str),
    /// The same, but it accepts the next connection only when the test asks for it, or the other end is dropped.
    NamelessUntil(Receiver<()>),
    /// These bytes, and on with the next request.
    Raw(Vec<u8>),
    /// These bytes, and when the client has hung up, on to the next connection.
    RawUntilHungUp(Vec<u8>),
    /// These bytes, and it is gone.
    Die(Vec<u8>),
}

/// Listens, and serves until `act` ends it.
pub fn serve_old(
    socket: &Path,
    act: impl FnMut(&Request) -> Act + Send + 'static,
) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || serve(&listener, act))
}

fn serve(listener: &UnixListener, mut act: impl FnMut(&Request) -> Act) {
    // Like Python's, the connection before is closed only when the next is there.
    let mut _before = None;
    for connection in 0.. {
        let mut stream = listener.accept().unwrap().0;
        // A client that hangs up, also in the middle of an answer, makes room for the next.
        if let Ok(true) = serve_connection(&mut stream, connection, &mut act) {
            return;
        }
        _before = Some(stream);
    }
}

/// Returns whether the worker dies.
fn serve_connection(
    stream: &mut UnixStream,
    connection: usize,
    act: &mut impl FnMut(&Request) -> Act,
) -> io::Result<bool> {
    loop {
        let request: Value = serde_json::from_slice(&read_frame(stream)?).unwrap();
        let id = request["id"].as_u64().unwrap();
        let method = request["method"].as_str().unwrap().to_owned();
        if method == "pyproc.hello" {
            let error = "Method 'pyproc.hello' not found";
            stream.write_all(&frame(&json!({"id": id, "ok": false, "error": error})))?;
            continue;
        }
        let body = request["body"].clone();
        let request = Request {
            id,
            method,
            body,
            connection,
        };
        match act(&request) {
            Act::Answer(body) => stream.write_all(&answer(id, &body))?,
            Act::Nameless(error) => {
                stream.write_all(&frame(&json!({"id": 0, "ok": false, "error": error})))?;
                return Ok(false);
            }
            Act::NamelessUntil(go) => {
                stream.write_all(&frame(&json!({"id": 0, "ok": false, "error": "later"})))?;
                let _ = go.recv();
                return Ok(false);
            }
            Act::Raw(bytes) => stream.write_all(&bytes)?,
            Act::RawUntilHungUp(bytes) => {
                stream.write_all(&bytes)?;
                io::copy(stream, &mut io::sink())?;
                return Ok(false);
            }
            Act::Die(bytes) => {
                stream.write_all(&bytes)?;
                return Ok(true);
            }
        }
    }
}

pub fn answer(id: u64, body: &Value) -> Vec<u8> {
    frame(&json!({"id": id, "ok": true, "body": body}))
}

pub fn frame(message: &Value) -> Vec<u8> {
    framed(message.to_string().as_bytes())
}

pub fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

pub fn read_frame(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body)?;
    Ok(body)
}
