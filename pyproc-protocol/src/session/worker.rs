use bytes::BytesMut;

use super::Greeting;
use crate::{
    AnswerForm, Cancellation, EncodeError, Features, FrameDecoder, HELLO_METHOD, Message, Response,
    SessionError, Version, WorkerInfo,
    v2::{
        self, Answer,
        telemetry::{self, Record},
    },
};

/// Characters of a farewell that are sure to fit: as JSON, each takes at most six bytes of a maximum of 1,024.
const SHORT_FAREWELL: usize = 160;

/// The worker's end of one connection: the handshake, requests, cancellations and drains, in both versions.
///
/// It serves clients with and without a hello: what is asked in one version is answered in the same. The native core of the
/// Python package is made of it, and so may be a worker of your own. See `tests/session.rs` of this crate for both ends in
/// conversation.
#[derive(Debug)]
pub struct WorkerSession {
    pub(super) decoder: FrameDecoder,
    pub(super) max_frame_size: usize,
    /// What answers the hello, unless the caller does.
    pub(super) info: Option<WorkerInfo>,
    /// What the worker can do.
    pub(super) offered: Features,
    /// The features in force.
    pub(super) features: Features,
    /// The newest version in force.
    pub(super) version: Version,
    pub(super) handshake: Handshake,
    pub(super) owned: bool,
    pub(super) draining: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    /// The client has not said hello.
    None,
    /// It waits for the answer.
    Pending,
    /// It has an answer, and understands what that says.
    Over,
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
    /// The client introduced itself: answer it. Comes only out of a session that was made
    /// [`with_late_introduction`](WorkerSession::with_late_introduction).
    Hello(Greeting),
}

impl WorkerSession {
    /// A session on a new connection, which answers the hello. `info` is what the worker says of itself; its
    /// version is filled in.
    pub fn new(info: WorkerInfo, max_frame_size: usize) -> Self {
        Self {
            info: Some(info.clone()),
            ..Self::with_late_introduction(info.features, max_frame_size)
        }
    }

    /// A session whose hello is answered by the caller, for a worker that first has to find out what to say of itself.
    /// `features` are those that it can offer. [`WorkerEvent::Hello`] then calls for [`introduce`](Self::introduce).
    pub fn with_late_introduction(features: Features, max_frame_size: usize) -> Self {
        Self {
            decoder: FrameDecoder::new(max_frame_size),
            max_frame_size,
            info: None,
            offered: features,
            features: Features::NONE,
            version: Version::V1,
            handshake: Handshake::None,
            owned: false,
            draining: false,
        }
    }

    /// Takes the next event off the front of `input`; `None` when more bytes are needed. The
    /// answers to pings are appended to `out`, and those to hellos that make no event.
    ///
    /// # Errors
    ///
    /// When the client broke the protocol. Answer the requests that came before, send the
    /// [farewell](Self::farewell), and close the connection.
    #[inline]
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        while let Some(frame) = self.decoder.decode(input)? {
            // Requests leave from here, so that they are not moved more often than need be.
            let event = if self.version == Version::V2 && v2::is_frame(&frame) {
                match v2::Message::of_frame(frame)? {
                    v2::Message::Request(_) if self.draining => None,
                    v2::Message::Request(request) => {
                        let version = Version::V2;
                        return Ok(Some(WorkerEvent::Request { version, request }));
                    }
                    other => self.on_binary(other, out)?,
                }
            } else {
                match Message::of_client(&frame)? {
                    Message::Request(hello) if hello.method == HELLO_METHOD => {
                        self.on_hello(&hello, out)?
                    }
                    Message::Request(_) if self.draining => None,
                    Message::Request(request) => {
                        let (version, request) = (Version::V1, request.into());
                        return Ok(Some(WorkerEvent::Request { version, request }));
                    }
                    other => on_json(other)?,
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// How requests of this version are answered.
    pub fn answer_form(&self, version: Version) -> AnswerForm {
        AnswerForm::new(version, self.features.error_details, self.max_frame_size)
    }

    /// Appends an answer to `out`, in the version of its request. In version 1, an error's type and traceback are left
    /// out for a client that did not ask for them, and times always.
    ///
    /// See [`AnswerForm`] for writing a result without a copy, and without the session.
    ///
    /// # Errors
    ///
    /// When the result is too large for a frame, or is no JSON in version 1: respond with a
    /// [failure](Answer::failure) instead.
    pub fn respond(
        &self,
        version: Version,
        answer: Answer,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let form = self.answer_form(version);
        match &answer.result {
            Ok(body) => {
                let frame = form.begin(answer.id, body.codec, answer.times, out)?;
                out.extend_from_slice(&body.bytes);
                frame.finish(self.max_frame_size, out)
            }
            Err(failure) => form.write_failure(answer.id, answer.times, failure, out),
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

    /// Says to `out` that the worker takes no more requests, if the client understands that, or as soon as it does. Requests
    /// that come from now on are passed over; cancellations and pings are not.
    pub fn drain(&mut self, out: &mut Vec<u8>) {
        if !self.draining {
            self.draining = true;
            self.say_drain(out);
        }
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Appends the last frame of a connection on which the client broke the protocol: why. It goes after all answers.
    pub fn farewell(&self, error: &SessionError, out: &mut Vec<u8>) {
        let reason = error.reason();
        let farewell = |reason: &str| Response::failure(0, reason);
        // Only a maximum frame size of a few dozen bytes is too small for a short one.
        let _ = farewell(&reason)
            .encode(self.max_frame_size, out)
            .or_else(|_| {
                let short: String = reason.chars().take(SHORT_FAREWELL).collect();
                farewell(&short).encode(self.max_frame_size, out)
            });
    }

    /// The largest body of a frame, in bytes.
    pub fn max_frame_size(&self) -> usize {
        self.max_frame_size
    }

    /// The features in force.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Whether the client owns this worker, which then exits with the connection.
    pub fn is_owned(&self) -> bool {
        self.owned
    }
}

impl WorkerSession {
    /// Whatever is no request.
    fn on_binary(
        &self,
        message: v2::Message,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        match message {
            v2::Message::Cancel(it) => Ok(cancellation(it)),
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
}

/// Whatever is no request.
fn on_json(message: Message) -> Result<Option<WorkerEvent>, SessionError> {
    match message {
        Message::Cancellation(it) => Ok(cancellation(it)),
        Message::Unknown { .. } => Ok(None),
        other => Err(unexpected(other.kind())),
    }
}

/// The id 0 names no request.
fn cancellation(it: Cancellation) -> Option<WorkerEvent> {
    (it.id != 0).then_some(WorkerEvent::Cancellation(it))
}

pub(super) fn unexpected(got: &'static str) -> SessionError {
    SessionError::Unexpected {
        got,
        expected: "request",
    }
}
