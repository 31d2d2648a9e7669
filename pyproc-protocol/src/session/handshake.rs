//! The worker's side of the handshake.

use super::{
    SessionError,
    worker::{Handshake, WorkerEvent, WorkerSession, unexpected},
};
use crate::{
    EncodeError, Failure, Features, Hello, ResponseEncoder, Version, WorkerInfo,
    v1::{RawJson, Request, Response},
    v2,
};

/// A valid hello, and the version and features that it puts in force. They hold for everything that the client sends
/// from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedHello {
    /// The hello's id. The response is of version 1.
    pub id: u64,
    /// The newest version that both sides support.
    pub version: Version,
    /// The features that both sides support.
    pub features: Features,
    /// Name and version of the client's software, for logs; empty if unknown.
    pub agent: String,
}

impl WorkerSession {
    /// Appends the response to a hello to `out`: `info`, in which the session sets version and features. If `info` is too
    /// large for a frame, the response is an error, and nothing is in force.
    pub fn respond_to_hello(
        &mut self,
        hello: &AcceptedHello,
        mut info: WorkerInfo,
        out: &mut Vec<u8>,
    ) {
        info.version = hello.version.number();
        info.features = hello.features;
        let written = RawJson::encode(&info)
            .map_err(EncodeError::Json)
            .and_then(|body| Response::success(hello.id, body).encode(self.max_frame_size, out));
        match written {
            Ok(()) => self.on_hello_accepted(out),
            Err(error) => {
                self.write_rejection(hello.id, error.to_string(), out);
                self.on_hello_rejected();
            }
        }
    }

    /// The caller has written the response to the hello itself, with the content that
    /// [`respond_to_hello`](Self::respond_to_hello) would write. The session appends a pending drain to `out`.
    pub fn on_hello_accepted(&mut self, out: &mut Vec<u8>) {
        self.handshake = Handshake::Complete;
        if self.draining {
            self.write_drain(out);
        }
    }

    /// The caller has responded to the hello with an error: version 1 without features is in force.
    pub fn on_hello_rejected(&mut self) {
        self.handshake = Handshake::Complete;
        self.version = Version::V1;
        self.features = Features::NONE;
        self.owned = false;
    }

    fn write_rejection(&self, id: u64, message: String, out: &mut Vec<u8>) {
        let failure = Failure {
            message,
            ..Failure::default()
        };
        let encoder = ResponseEncoder::new(Version::V1, false, self.max_frame_size);
        // Only a maximum frame size of a few dozen bytes is too small for it.
        let _ = encoder.encode_failure(id, None, &failure, out);
    }

    pub(super) fn write_drain(&self, out: &mut Vec<u8>) {
        if self.handshake == Handshake::Complete && self.version == Version::V2 {
            // It is shorter than the response to the hello, which fitted.
            let _ = v2::Message::Drain.encode(self.max_frame_size, out);
        }
    }

    pub(super) fn on_hello(
        &mut self,
        request: &Request,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        if self.handshake != Handshake::None {
            // The response is long: many of them could fill the memory.
            return Err(unexpected("second hello"));
        }
        if request.id == 0 {
            return Err(unexpected("hello without an id"));
        }
        self.handshake = Handshake::Pending;
        if self.draining {
            return Ok(None);
        }
        match self.negotiate(request) {
            Ok(hello) => match self.info.clone() {
                Some(info) => {
                    self.respond_to_hello(&hello, info, out);
                    Ok(None)
                }
                None => Ok(Some(WorkerEvent::Hello(hello))),
            },
            Err(reason) => {
                self.write_rejection(request.id, reason, out);
                self.on_hello_rejected();
                Ok(None)
            }
        }
    }

    /// Puts in force what both sides support. This happens before the response is written, because frames that follow
    /// the hello are decoded in the new version.
    fn negotiate(&mut self, request: &Request) -> Result<AcceptedHello, String> {
        let decoded = request.body.decode::<Hello>();
        let hello = decoded.map_err(|error| format!("the hello makes no sense: {error}"))?;
        let offered = &hello.versions;
        let version = Version::newest_of(offered).ok_or_else(|| {
            format!("this worker speaks versions 1 and 2 of the protocol, not {offered:?}")
        })?;
        self.version = version;
        self.features = hello
            .features
            .intersection(self.offered)
            .supported_by(version);
        self.owned = hello.owner;
        Ok(AcceptedHello {
            id: request.id,
            version,
            features: self.features,
            agent: hello.agent,
        })
    }
}
