use bytes::BytesMut;

use super::{AcceptedHello, SessionError};
use crate::{
    Cancellation, EncodeError, Features, FrameDecoder, HELLO_METHOD, ResponseEncoder, Version,
    WorkerInfo, v1,
    v2::{
        self,
        telemetry::{self, Record},
    },
};

/// Characters of an error that always fit into a frame: each takes at most six bytes as JSON, of at least 1,024.
const SHORT_REASON: usize = 160;

/// The worker's end of one connection: the handshake, requests, cancellations and drains, in both versions.
///
/// It serves clients with and without a hello, and responds to each request in the request's version. The native core of
/// the Python package is built on it; workers of your own in Rust can be, too. `tests/session/` of this crate has
/// examples with both ends.
#[derive(Debug)]
pub struct WorkerSession {
    pub(super) decoder: FrameDecoder,
    pub(super) max_frame_size: usize,
    /// The response to the hello; `None` if the caller responds.
    pub(super) info: Option<WorkerInfo>,
    /// The features that the worker supports.
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
    /// No hello has arrived.
    None,
    /// The response to the hello is outstanding.
    Pending,
    /// The response to the hello is written.
    Complete,
}

/// What a [`WorkerSession`] received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// Run the function and [`respond`](WorkerSession::respond). Respond to requests with the id 0 in order, one before
    /// the next one runs: only the order says which response belongs to which request.
    Request {
        /// The version to respond in.
        version: Version,
        /// The request. One of version 1 has the method's name, a body of JSON, and neither trace nor deadline.
        request: v2::Request,
    },
    /// The client no longer waits for the response. A response is required all the same.
    Cancellation(Cancellation),
    /// The client sends no more requests.
    Drain,
    /// The client sent a hello: [respond](WorkerSession::respond_to_hello). Only from a session
    /// [`with_deferred_hello`](WorkerSession::with_deferred_hello).
    Hello(AcceptedHello),
}

impl WorkerSession {
    /// A session on a new connection, which responds to the hello with `info`. The session sets the version and the
    /// features in it.
    pub fn new(info: WorkerInfo, max_frame_size: usize) -> Self {
        Self {
            info: Some(info.clone()),
            ..Self::with_deferred_hello(info.features, max_frame_size)
        }
    }

    /// A session that leaves the response to the hello to the caller, for a worker that does not know its
    /// [`WorkerInfo`] yet. `features` are those that the worker supports. After [`WorkerEvent::Hello`] call
    /// [`respond_to_hello`](Self::respond_to_hello).
    pub fn with_deferred_hello(features: Features, max_frame_size: usize) -> Self {
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

    /// Decodes the next event from the front of `input`; `None` if more bytes are needed. Appends responses to pings,
    /// and to hellos that are not left to the caller, to `out`.
    ///
    /// # Errors
    ///
    /// If the client violated the protocol. Respond to the requests that came before,
    /// [write the error](Self::write_error), and close the connection.
    #[inline]
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        while let Some(frame) = self.decoder.decode(input)? {
            // Requests return directly, so that they are moved as rarely as possible.
            let event = if self.version == Version::V2 && v2::is_frame(&frame) {
                match v2::Message::decode_owned(frame)? {
                    v2::Message::Request(_) if self.draining => None,
                    v2::Message::Request(request) => {
                        let version = Version::V2;
                        return Ok(Some(WorkerEvent::Request { version, request }));
                    }
                    other => self.on_binary(other, out)?,
                }
            } else {
                match v1::Message::decode_from_client(&frame)? {
                    v1::Message::Request(hello) if hello.method == HELLO_METHOD => {
                        self.on_hello(&hello, out)?
                    }
                    v1::Message::Request(_) if self.draining => None,
                    v1::Message::Request(request) => {
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

    /// Encodes responses to requests of this version.
    pub fn response_encoder(&self, version: Version) -> ResponseEncoder {
        ResponseEncoder::new(version, self.features.error_details, self.max_frame_size)
    }

    /// Appends a response to `out`, in the version of its request. Version 1 never sends times, and an error's type and
    /// traceback only if the client asked for them.
    ///
    /// [`ResponseEncoder`] encodes a result without a copy, and without the session.
    ///
    /// # Errors
    ///
    /// If the result is too large for a frame, or is not JSON in version 1: respond with a
    /// [failure](v2::Response::failure) instead.
    pub fn respond(
        &self,
        version: Version,
        response: v2::Response,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let encoder = self.response_encoder(version);
        match &response.result {
            Ok(body) => {
                let frame = encoder.begin(response.id, body.codec, response.times, out)?;
                out.extend_from_slice(&body.bytes);
                frame.finish(self.max_frame_size, out)
            }
            Err(failure) => encoder.encode_failure(response.id, response.times, failure, out),
        }
    }

    /// Appends a record of telemetry to `out`, if the client asked for its type; returns whether it did.
    ///
    /// # Errors
    ///
    /// If the record is too large for a frame.
    pub fn send_record(&self, record: &Record, out: &mut Vec<u8>) -> Result<bool, EncodeError> {
        if !record.is_enabled(self.features) {
            return Ok(false);
        }
        let mut line = Vec::new();
        record.encode_line(&mut line);
        telemetry::encode_frame(&line, self.max_frame_size, out)?;
        Ok(true)
    }

    /// Announces in `out` that the worker accepts no more requests: at once, or after the handshake. Version 1 has no such
    /// message. The session ignores requests from now on, but not cancellations and pings.
    pub fn drain(&mut self, out: &mut Vec<u8>) {
        if !self.draining {
            self.draining = true;
            self.write_drain(out);
        }
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Appends the last frame of a connection on which the client violated the protocol: the reason. It follows all
    /// responses.
    pub fn write_error(&self, error: &SessionError, out: &mut Vec<u8>) {
        let reason = error.reason();
        let response = |reason: &str| v1::Response::failure(0, reason);
        // Only a maximum frame size of a few dozen bytes is too small for the short one.
        let _ = response(&reason)
            .encode(self.max_frame_size, out)
            .or_else(|_| {
                let short: String = reason.chars().take(SHORT_REASON).collect();
                response(&short).encode(self.max_frame_size, out)
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
    /// Handles a message of version 2 that is not a request.
    fn on_binary(
        &self,
        message: v2::Message,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        match message {
            v2::Message::Cancellation(it) => Ok(cancellation(it)),
            v2::Message::Drain => Ok(Some(WorkerEvent::Drain)),
            v2::Message::Ping(ping) => {
                // The pong is as long as the ping, which fitted.
                let _ =
                    v2::Message::Pong(v2::Pong { id: ping.id }).encode(self.max_frame_size, out);
                Ok(None)
            }
            v2::Message::Telemetry(_) | v2::Message::Unknown { .. } => Ok(None),
            other => Err(unexpected(other.name())),
        }
    }
}

/// Handles a message of version 1 that is not a request.
fn on_json(message: v1::Message) -> Result<Option<WorkerEvent>, SessionError> {
    match message {
        v1::Message::Cancellation(it) => Ok(cancellation(it)),
        v1::Message::Unknown { .. } => Ok(None),
        other => Err(unexpected(other.name())),
    }
}

/// A cancellation of the id 0 names no request.
fn cancellation(it: Cancellation) -> Option<WorkerEvent> {
    (it.id != 0).then_some(WorkerEvent::Cancellation(it))
}

pub(super) fn unexpected(got: &'static str) -> SessionError {
    SessionError::Unexpected {
        got,
        expected: "request",
    }
}
