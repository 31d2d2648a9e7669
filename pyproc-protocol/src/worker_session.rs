use bytes::{Bytes, BytesMut};

use crate::{
    AnswerFrame, Cancellation, EncodeError, Features, FrameDecoder, HELLO_METHOD, Hello, Message,
    RawJson, Request, Response, SessionError, Version, WorkerInfo,
    v2::{
        self, Answer,
        telemetry::{self, Record},
    },
};

/// The worker's end of one connection: answers the hello, then yields requests.
///
/// It serves clients with and without a hello, in both versions: what is asked in one is answered in
/// the same. See `tests/session.rs` of this crate
/// for both ends in conversation.
#[derive(Debug)]
pub struct WorkerSession {
    decoder: FrameDecoder,
    max_frame_size: usize,
    info: WorkerInfo,
    features: Features,
    /// The newest version in force.
    version: Version,
    /// The client has said hello.
    introduced: bool,
    owned: bool,
}

/// Something that the client did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// Run a function and [`respond`](WorkerSession::respond). Requests with the id 0 are told apart by nothing but the order of
    /// their answers: answer one before you run the next.
    Request {
        /// The version to answer in.
        version: Version,
        /// What to run. Version 1 names the method, has a body of JSON, and says neither trace nor deadline.
        request: v2::Request,
    },
    /// Nobody waits for the answer any more, but one is still due.
    Cancellation(Cancellation),
    /// The client sends no more requests.
    Drain,
}

impl WorkerSession {
    /// A session on a new connection. `info` is what the worker says of itself; its
    /// version is filled in.
    pub fn new(info: WorkerInfo, max_frame_size: usize) -> Self {
        Self {
            decoder: FrameDecoder::new(max_frame_size),
            max_frame_size,
            info,
            features: Features::NONE,
            version: Version::V1,
            introduced: false,
            owned: false,
        }
    }

    /// Takes the next event off the front of `input`; `None` when more bytes are needed. The
    /// answers to a hello and to pings are appended to `out`.
    ///
    /// # Errors
    ///
    /// When the client broke the protocol. Its farewell is in `out` already: send
    /// it, and close the connection.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        self.next_event(input, out).inspect_err(|error| {
            let farewell = Response::failure(0, error.to_string());
            // Only a maximum frame size of a few dozen bytes is too small for it.
            let _ = farewell.encode(self.max_frame_size, out);
        })
    }

    /// Appends an answer to `out`, in the version of its request. In version 1, an error's type and traceback are left
    /// out for a client that did not ask for them, and times always.
    ///
    /// See [`AnswerFrame`] for writing a result without a copy.
    ///
    /// # Errors
    ///
    /// When the answer is too large for a frame, or is no JSON in version 1: respond with a
    /// [failure](Answer::failure) instead.
    pub fn respond(
        &self,
        version: Version,
        answer: Answer,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let max = self.max_frame_size;
        match &answer.result {
            Ok(body) => {
                let frame = AnswerFrame::begin(version, answer.id, body.codec, answer.times, out)?;
                out.extend_from_slice(&body.bytes);
                frame.finish(max, out)
            }
            Err(_) if version == Version::V2 => answer.encode(max, out),
            Err(failure) => {
                let details = self.features.error_details;
                Response::of_failure(answer.id, failure, details).encode(max, out)
            }
        }
    }

    /// Appends a record of telemetry to `out`, if the client takes such; returns whether it does.
    ///
    /// # Errors
    ///
    /// When the record is too large for a frame.
    pub fn report(&self, record: &Record, out: &mut Vec<u8>) -> Result<bool, EncodeError> {
        if !record.is_wanted(self.features) {
            return Ok(false);
        }
        let mut line = Vec::new();
        record.write_line(&mut line);
        telemetry::write_frame(&line, self.max_frame_size, out)?;
        Ok(true)
    }

    /// The features in force.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The functions that this connection's hello lists, in the order that version 2 numbers them by.
    pub fn info(&self) -> &WorkerInfo {
        &self.info
    }

    /// Whether the client owns this worker, which then exits with the connection.
    pub fn is_owned(&self) -> bool {
        self.owned
    }

    fn next_event(
        &mut self,
        input: &mut BytesMut,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        while let Some(frame) = self.decoder.decode(input)? {
            let event = if self.version == Version::V2 && v2::is_frame(&frame) {
                self.on_binary(&frame, out)?
            } else {
                self.on_json(&frame, out)?
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn on_binary(
        &self,
        frame: &Bytes,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        match v2::Message::decode(frame)? {
            v2::Message::Request(request) => Ok(Some(WorkerEvent::Request {
                version: Version::V2,
                request,
            })),
            v2::Message::Cancel(it) => Ok(Some(WorkerEvent::Cancellation(it))),
            v2::Message::Drain => Ok(Some(WorkerEvent::Drain)),
            v2::Message::Ping(ping) => {
                // A frame of twelve bytes fits whatever the maximum is: the ping's did.
                let _ =
                    v2::Message::Pong(v2::Pong { id: ping.id }).encode(self.max_frame_size, out);
                Ok(None)
            }
            v2::Message::Telemetry(_) | v2::Message::Skippable { .. } => Ok(None),
            other => Err(unexpected(other.name())),
        }
    }

    fn on_json(
        &mut self,
        frame: &Bytes,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        match Message::of_client(frame)? {
            Message::Request(request) if request.method == HELLO_METHOD => {
                self.on_hello(&request, out)?;
                Ok(None)
            }
            Message::Request(request) => Ok(Some(WorkerEvent::Request {
                version: Version::V1,
                request: request.into(),
            })),
            Message::Cancellation(it) => Ok(Some(WorkerEvent::Cancellation(it))),
            Message::Unknown { .. } => Ok(None),
            other @ Message::Response(_) => Err(unexpected(other.kind())),
        }
    }

    fn on_hello(&mut self, request: &Request, out: &mut Vec<u8>) -> Result<(), SessionError> {
        if self.introduced {
            // Its answer is long: a flood of them would fill the memory.
            return Err(unexpected("second hello"));
        }
        if request.id == 0 {
            return Err(unexpected("hello without an id"));
        }
        self.introduced = true;
        let response = match request.body.decode::<Hello>() {
            Ok(hello) => self.introduce(request.id, &hello)?,
            Err(error) => {
                Response::failure(request.id, format!("the hello makes no sense: {error}"))
            }
        };
        response
            .encode(self.max_frame_size, out)
            .or_else(|error| {
                Response::failure(request.id, error.to_string()).encode(self.max_frame_size, out)
            })
            .map_err(|_| SessionError::Unexpected {
                got: "hello",
                expected: "larger maximum frame size",
            })
    }

    fn introduce(&mut self, id: u64, hello: &Hello) -> Result<Response, SessionError> {
        let Some(version) = Version::common(&hello.versions) else {
            let offered = &hello.versions;
            let error =
                format!("this worker speaks versions 1 and 2 of the protocol, not {offered:?}");
            return Ok(Response::failure(id, error));
        };
        self.version = version;
        self.features = hello.features.and(self.info.features).within(version);
        self.owned = hello.owner;
        let mut info = self.info.clone();
        info.version = version.number();
        info.features = self.features;
        let body = RawJson::encode(&info).map_err(SessionError::HelloBody)?;
        Ok(Response::success(id, body))
    }
}

fn unexpected(got: &'static str) -> SessionError {
    SessionError::Unexpected {
        got,
        expected: "request",
    }
}
