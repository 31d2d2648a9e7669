//! The handshake: what a hello puts in force, and its answer.

use super::worker::{Handshake, WorkerEvent, WorkerSession, unexpected};
use crate::{
    AnswerForm, EncodeError, Features, Hello, RawJson, Request, Response, SessionError, Version,
    WorkerInfo,
    v2::{self, Failure},
};

/// A hello that was understood, and what came of it. It is in force for what the client sends from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Greeting {
    /// The id to answer, in version 1.
    pub id: u64,
    /// The newest version that both sides speak.
    pub version: Version,
    /// The features that both sides named.
    pub features: Features,
    /// Name and version of the client's software, for logs; empty when it does not say.
    pub agent: String,
}

impl WorkerSession {
    /// Appends the answer to a hello to `out`: `info`, with version and features filled in. An `info` too large for a frame is
    /// refused.
    pub fn introduce(&mut self, greeting: &Greeting, mut info: WorkerInfo, out: &mut Vec<u8>) {
        info.version = greeting.version.number();
        info.features = greeting.features;
        let written = RawJson::encode(&info)
            .map_err(EncodeError::Json)
            .and_then(|body| Response::success(greeting.id, body).encode(self.max_frame_size, out));
        match written {
            Ok(()) => self.on_introduced(out),
            Err(error) => {
                self.write_refusal(greeting.id, error.to_string(), out);
                self.on_refused();
            }
        }
    }

    /// The caller has written an answer that says what [`introduce`](Self::introduce) would. What was agreed may follow it
    /// in `out`.
    pub fn on_introduced(&mut self, out: &mut Vec<u8>) {
        self.handshake = Handshake::Over;
        if self.draining {
            self.say_drain(out);
        }
    }

    /// The caller has answered the hello with an error: nothing was agreed.
    pub fn on_refused(&mut self) {
        self.handshake = Handshake::Over;
        self.version = Version::V1;
        self.features = Features::NONE;
        self.owned = false;
    }

    fn write_refusal(&self, id: u64, message: String, out: &mut Vec<u8>) {
        let failure = Failure {
            message,
            ..Failure::default()
        };
        let form = AnswerForm::new(Version::V1, false, self.max_frame_size);
        // A maximum of some dozen bytes has no room for it.
        let _ = form.write_failure(id, None, &failure, out);
    }

    pub(super) fn say_drain(&self, out: &mut Vec<u8>) {
        if self.handshake == Handshake::Over && self.version == Version::V2 {
            // Of twelve bytes: the answer to the hello had more.
            let _ = v2::Message::Drain.encode(self.max_frame_size, out);
        }
    }

    pub(super) fn on_hello(
        &mut self,
        request: &Request,
        out: &mut Vec<u8>,
    ) -> Result<Option<WorkerEvent>, SessionError> {
        if self.handshake != Handshake::None {
            // Its answer is long: a flood of them would fill the memory.
            return Err(unexpected("second hello"));
        }
        if request.id == 0 {
            return Err(unexpected("hello without an id"));
        }
        self.handshake = Handshake::Pending;
        if self.draining {
            return Ok(None);
        }
        match self.agree(request) {
            Ok(greeting) => match self.info.clone() {
                Some(info) => {
                    self.introduce(&greeting, info, out);
                    Ok(None)
                }
                None => Ok(Some(WorkerEvent::Hello(greeting))),
            },
            Err(reason) => {
                self.write_refusal(request.id, reason, out);
                self.on_refused();
                Ok(None)
            }
        }
    }

    /// Puts in force what both sides can do, before the answer says so: what comes behind the hello is read that way.
    fn agree(&mut self, request: &Request) -> Result<Greeting, String> {
        let decoded = request.body.decode::<Hello>();
        let hello = decoded.map_err(|error| format!("the hello makes no sense: {error}"))?;
        let offered = &hello.versions;
        let version = Version::common(offered).ok_or_else(|| {
            format!("this worker speaks versions 1 and 2 of the protocol, not {offered:?}")
        })?;
        self.version = version;
        self.features = hello.features.and(self.offered).within(version);
        self.owned = hello.owner;
        Ok(Greeting {
            id: request.id,
            version,
            features: self.features,
            agent: hello.agent,
        })
    }
}
