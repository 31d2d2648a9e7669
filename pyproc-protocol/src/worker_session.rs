use bytes::BytesMut;

use crate::{
    Cancellation, EncodeError, Features, FrameDecoder, HELLO_METHOD, Hello, Message, RawJson,
    Request, Response, SessionError, VERSION_1, WorkerInfo,
};

/// The worker's end of one connection: answers the hello, then yields requests.
///
/// It serves clients with and without a hello. See `tests/session.rs` of this crate
/// for both ends in conversation.
#[derive(Debug)]
pub struct WorkerSession {
    decoder: FrameDecoder,
    max_frame_size: usize,
    info: WorkerInfo,
    features: Features,
    /// The client has said hello.
    introduced: bool,
    owned: bool,
}

/// Something that the client did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// Run a function and [`respond`](WorkerSession::respond).
    Request(Request),
    /// Nobody waits for the answer any more, but one is still due.
    Cancellation(Cancellation),
}

impl WorkerSession {
    /// A session on a new connection. `info` is what the worker says of itself; its
    /// version is filled in.
    pub fn new(mut info: WorkerInfo, max_frame_size: usize) -> Self {
        info.version = VERSION_1;
        Self {
            decoder: FrameDecoder::new(max_frame_size),
            max_frame_size,
            info,
            features: Features::NONE,
            introduced: false,
            owned: false,
        }
    }

    /// Takes the next event off the front of `input`; `None` when more bytes are needed. The
    /// answer to a hello is appended to `out`.
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
            let farewell = Response::failure(0, error.chain());
            // Only a maximum frame size of a few dozen bytes is too small for it.
            let _ = farewell.encode(self.max_frame_size, out);
        })
    }

    /// Appends an answer to `out`. Headers with details of an error are left out for a
    /// client that did not ask for them.
    ///
    /// # Errors
    ///
    /// When the answer is too large for a frame: respond with a
    /// [failure](Response::failure) instead.
    pub fn respond(&self, mut response: Response, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if response.result.is_err() && !self.features.error_details {
            response.headers.clear();
        }
        response.encode(self.max_frame_size, out)
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
            match Message::decode(&frame)? {
                Message::Request(request) if request.method == HELLO_METHOD => {
                    self.on_hello(&request, out)?;
                }
                Message::Request(request) => return Ok(Some(WorkerEvent::Request(request))),
                Message::Cancellation(it) => return Ok(Some(WorkerEvent::Cancellation(it))),
                Message::Unknown { .. } => {}
                other @ Message::Response(_) => {
                    return Err(SessionError::Unexpected {
                        got: other.kind(),
                        expected: "request",
                    });
                }
            }
        }
        Ok(None)
    }

    fn on_hello(&mut self, request: &Request, out: &mut Vec<u8>) -> Result<(), SessionError> {
        if self.introduced {
            // Its answer is long: a flood of them would fill the memory.
            return Err(SessionError::Unexpected {
                got: "second hello",
                expected: "request",
            });
        }
        self.introduced = true;
        let response = match request.body.decode::<Hello>() {
            Ok(hello) => self.introduce(request.id, &hello)?,
            Err(error) => {
                Response::failure(request.id, format!("the hello makes no sense: {error}"))
            }
        };
        self.respond(response, out)
            .or_else(|error| {
                Response::failure(request.id, error.to_string()).encode(self.max_frame_size, out)
            })
            .map_err(|_| SessionError::Unexpected {
                got: "hello",
                expected: "larger maximum frame size",
            })
    }

    fn introduce(&mut self, id: u64, hello: &Hello) -> Result<Response, SessionError> {
        if !hello.versions.contains(&VERSION_1) {
            let offered = &hello.versions;
            let error = format!("this worker speaks version 1 of the protocol, not {offered:?}");
            return Ok(Response::failure(id, error));
        }
        self.features = hello.features.and(self.info.features);
        self.owned = hello.owner;
        let mut info = self.info.clone();
        info.features = self.features;
        let body = RawJson::encode(&info).map_err(SessionError::HelloBody)?;
        Ok(Response::success(id, body))
    }
}
