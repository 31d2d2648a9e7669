//! A client's end of one connection, which keeps a transcript.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    verdict::{Failure, Outcome, Stop},
    wire::{self, Answer, Binary, Body},
};

pub(crate) struct Peer {
    socket: UnixStream,
    /// A worker that does not react for so long never will.
    patience: Duration,
    transcript: Vec<String>,
    next_id: u64,
    /// The functions of the worker's hello, by their indexes.
    pub(crate) table: Vec<String>,
    /// The lines of the telemetry frames that arrived between answers.
    pub(crate) records: Vec<String>,
}

impl Peer {
    pub(crate) fn connect(path: &Path, patience: Duration) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        Ok(Self {
            socket,
            patience,
            transcript: Vec::new(),
            next_id: 0,
            table: Vec::new(),
            records: Vec::new(),
        })
    }

    /// An id that this connection has not had yet.
    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Sends bytes. That the worker no longer reads is not an error of its own: what it answers will show.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.transcript.push(format!("> {}", shown(bytes)));
        if let Err(error) = self.socket.write_all(bytes) {
            self.transcript.push(format!("  (not all sent: {error})"));
        }
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.transcript.push(format!("  ({what})"));
    }

    /// Sends no more, and goes on reading.
    pub(crate) fn finish_sending(&mut self) {
        self.note("the client closes its half");
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The next body that is no telemetry; `None` at the end of the connection.
    pub(crate) fn receive(&mut self, expected: &str) -> Outcome<Option<Body>> {
        loop {
            let Some(bytes) = self.receive_frame(expected)? else {
                self.note("the worker closes");
                return Ok(None);
            };
            self.transcript
                .push(format!("< {}", shown(&wire::frame(&bytes))));
            match Body::read(bytes) {
                Body::Binary(frame) if frame.kind == wire::TELEMETRY => self.keep(&frame)?,
                body => return Ok(Some(body)),
            }
        }
    }

    /// Waits for another telemetry frame.
    pub(crate) fn receive_records(&mut self, expected: &str) -> Outcome {
        let Some(bytes) = self.receive_frame(expected)? else {
            return self.came(expected, None);
        };
        self.transcript
            .push(format!("< {}", shown(&wire::frame(&bytes))));
        match Body::read(bytes) {
            Body::Binary(frame) if frame.kind == wire::TELEMETRY => self.keep(&frame),
            body => self.came(expected, Some(body)),
        }
    }

    fn receive_frame(&mut self, expected: &str) -> Outcome<Option<Vec<u8>>> {
        let mut length = [0; 4];
        if !self.fill(&mut length, expected)? {
            return Ok(None);
        }
        let length = u32::from_be_bytes(length) as usize;
        if !(1..=wire::MAXIMUM).contains(&length) {
            return self.fail(expected, format!("a frame of {length} bytes"));
        }
        let mut body = vec![0; length];
        if !self.fill(&mut body, expected)? {
            return self.fail(expected, "the end of the connection within a frame");
        }
        Ok(Some(body))
    }

    /// Whether the bytes came, rather than the end.
    fn fill(&mut self, buffer: &mut [u8], expected: &str) -> Outcome<bool> {
        match self.socket.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                // A worker that closes without having read all resets the connection.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Ok(false),
                io::ErrorKind::WouldBlock => {
                    self.fail(expected, format!("nothing for {:?}", self.patience))
                }
                _ => self.fail(expected, error.to_string()),
            },
        }
    }

    fn keep(&mut self, frame: &Binary) -> Outcome {
        if frame.codec != wire::JSON {
            return self.fail("telemetry of codec 0", format!("codec {}", frame.codec));
        }
        match std::str::from_utf8(&frame.rest) {
            Ok(lines) => self.records.extend(lines.lines().map(String::from)),
            Err(_) => return self.fail("lines in UTF-8", "other bytes"),
        }
        Ok(())
    }

    // What the scripts expect

    /// The next body must be this message of version 1.
    pub(crate) fn expect(&mut self, message: Value) -> Outcome {
        let expected = wire::written(&message);
        match self.receive(&expected)? {
            Some(Body::Json { value, .. }) if value == message => Ok(()),
            other => self.came(&expected, other),
        }
    }

    /// The next body must be exactly one of these texts.
    pub(crate) fn either(&mut self, expected: &str, other: &str) -> Outcome {
        match self.receive(expected)? {
            Some(Body::Json { text, .. }) if text == expected || text == other => Ok(()),
            body => self.came(expected, body),
        }
    }

    /// The next body must be this text, which has no blanks. Needless white space is the concern of one rule only.
    pub(crate) fn text(&mut self, expected: &str) -> Outcome {
        match self.receive(expected)? {
            Some(Body::Json { text, .. }) if text.replace(' ', "") == expected => Ok(()),
            other => self.came(expected, other),
        }
    }

    /// The next body must be an answer to this request: this value, or an error.
    pub(crate) fn unchanged_or_error(&mut self, id: u64, body: &str) -> Outcome {
        let error = format!(r#"{{"id":{id},"ok":false,"#);
        let success = format!(r#"{{"id":{id},"ok":true,"body":{body}}}"#);
        let expected = format!("{success}, or an error of this request");
        match self.receive(&expected)? {
            Some(Body::Json { text, .. }) => {
                let text = text.replace(' ', "");
                self.check(text == success || text.starts_with(&error), &expected)
            }
            other => self.came(&expected, other),
        }
    }

    /// The next body must be a message of version 1.
    pub(crate) fn json(&mut self, expected: &str) -> Outcome<Value> {
        match self.receive(expected)? {
            Some(Body::Json { value, .. }) => Ok(value),
            other => self.came(expected, other),
        }
    }

    /// The next body must be a failure of this request, of version 1. Its message, and its headers.
    pub(crate) fn error(&mut self, id: u64) -> Outcome<Value> {
        let expected = format!(r#"{{"id":{id},"ok":false,"error":"..."}}"#);
        let answer = self.json(&expected)?;
        let fits = answer["id"] == id && answer["ok"] == false && answer["error"].is_string();
        self.check(fits, &expected)?;
        Ok(answer)
    }

    /// The worker must say why it ends the connection, and end it.
    pub(crate) fn broken(&mut self) -> Outcome {
        self.error(0)?;
        self.end()
    }

    pub(crate) fn end(&mut self) -> Outcome {
        let expected = "the end of the connection";
        match self.receive(expected)? {
            None => Ok(()),
            other => self.came(expected, other),
        }
    }

    /// A call of version 1 that must succeed: its result.
    pub(crate) fn call(&mut self, method: &str, body: &str) -> Outcome<Value> {
        let id = self.id();
        self.send(wire::request(id, method, body));
        let expected = format!(r#"{{"id":{id},"ok":true,"body":...}}"#);
        let mut answer = self.json(&expected)?;
        self.check(answer["id"] == id && answer["ok"] == true, &expected)?;
        Ok(answer["body"].take())
    }

    /// A call with a known result: the worker reads on, and has sent nothing else since.
    pub(crate) fn goes_on(&mut self) -> Outcome {
        let id = self.id();
        self.send(wire::request(id, "echo", r#""still here""#));
        self.expect(json!({"id": id, "ok": true, "body": "still here"}))
    }

    /// An answer of version 2 to this request.
    pub(crate) fn answer(&mut self, id: u64) -> Outcome<Answer> {
        let answer = self.any_answer()?;
        self.check(answer.id == id, &format!("an answer to request {id}"))?;
        Ok(answer)
    }

    pub(crate) fn any_answer(&mut self) -> Outcome<Answer> {
        let expected = "a response or an error of version 2";
        match self.receive(expected)? {
            Some(Body::Binary(frame)) => match Answer::read(&frame) {
                Some(answer) => Ok(answer),
                None => self.came(expected, Some(Body::Binary(frame))),
            },
            other => self.came(expected, other),
        }
    }

    pub(crate) fn pong(&mut self, id: u64) -> Outcome {
        let expected = format!("a pong with the id {id}");
        match self.receive(&expected)? {
            Some(Body::Binary(frame)) if frame == Binary::new(wire::PONG, id) => Ok(()),
            other => self.came(&expected, other),
        }
    }

    /// The worker must answer with this payload.
    pub(crate) fn payload(&mut self, id: u64, codec: u8, bytes: &[u8]) -> Outcome {
        let answer = self.answer(id)?;
        let expected = format!("codec {codec} and {}", shown(bytes));
        let fits = answer
            .outcome
            .is_ok_and(|it| it.codec == codec && it.bytes == bytes);
        self.check(fits, &expected)
    }

    /// The worker must answer with an error of this type.
    pub(crate) fn fault(&mut self, id: u64, kind: &str) -> Outcome<wire::Fault> {
        match self.answer(id)?.outcome {
            Err(fault) if fault.kind == kind => Ok(fault),
            other => self.fail(&format!("an error of type {kind}"), format!("{other:?}")),
        }
    }

    pub(crate) fn check(&self, holds: bool, expected: &str) -> Outcome {
        match holds {
            true => Ok(()),
            false => self.fail(expected, self.last_received()),
        }
    }

    pub(crate) fn fail<T>(&self, expected: &str, came: impl Into<String>) -> Outcome<T> {
        Err(Stop::Failed(Failure {
            expected: shortened(expected),
            came: came.into(),
            transcript: self.transcript.clone(),
        }))
    }

    fn came<T>(&self, expected: &str, body: Option<Body>) -> Outcome<T> {
        let came = match body {
            None => "the end of the connection",
            Some(Body::Unreadable) => "a body that is neither JSON nor of version 2",
            Some(_) => self.last_received(),
        };
        self.fail(expected, came)
    }

    fn last_received(&self) -> &str {
        let lines = self.transcript.iter().rev();
        lines
            .filter_map(|line| line.strip_prefix("< "))
            .next()
            .unwrap_or("nothing")
    }
}

/// At most some lines of a text that says what should have come.
fn shortened(text: &str) -> String {
    const MOST: usize = 600;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

/// Bytes for people: text where it is text, at most about a line.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 120;
    let mut text = String::new();
    for byte in bytes.iter().take(MOST) {
        match byte {
            b' '..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    match bytes.len() {
        length @ ..=MOST => format!("{length} bytes: {text}"),
        length => format!("{length} bytes: {text}..."),
    }
}
