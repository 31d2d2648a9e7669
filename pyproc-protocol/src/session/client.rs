use bytes::{Bytes, BytesMut};

use super::{Peer, SessionError};
use crate::{
    EncodeError, FrameDecoder, FrameError, HELLO_METHOD, Hello, LENGTH_PREFIX, MessageError,
    Version, v1,
    v2::{self, Response},
};

const HELLO_ID: u64 = 1;

/// The client's end of one connection: first the handshake, then responses of either version.
///
/// Call [`start`](Self::start), send the bytes that it wrote, and pass the bytes that arrive to
/// [`receive`](Self::receive). Send requests after [`ClientEvent::Ready`].
///
/// ```
/// # use bytes::BytesMut;
/// # use pyproc_protocol::{ClientEvent, ClientSession, Hello, Version, DEFAULT_MAX_FRAME_SIZE};
/// let mut to_worker = Vec::new();
/// let mut session =
///     ClientSession::start(Hello::new("example/1.0"), DEFAULT_MAX_FRAME_SIZE, &mut to_worker)?;
/// // ... send `to_worker`; a worker of the first release responds:
/// let answer = br#"{"id":1,"ok":false,"error":"Method 'pyproc.hello' not found"}"#;
/// let mut from_worker = BytesMut::from(&[&[0, 0, 0, answer.len() as u8][..], answer].concat()[..]);
/// assert_eq!(session.receive(&mut from_worker)?, Some(ClientEvent::Ready));
/// assert_eq!(session.peer().map(|peer| peer.version()), Some(Version::V1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientSession {
    decoder: FrameDecoder,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The response to the hello is outstanding.
    Handshake(Hello),
    Ready(Peer),
}

/// What a [`ClientSession`] received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The handshake is complete; [`ClientSession::peer`] describes the worker.
    Ready,
    /// A response. The caller checks whether a request with its id is outstanding.
    Response(Response),
    /// The response to the ping with this id.
    Pong(u64),
    /// The worker accepts no more requests; it responds to those that it has.
    Drain,
    /// Records of telemetry, if the hello asked for any: lines for [`v2::telemetry::decode_records`].
    Telemetry(Bytes),
    /// The worker sent a frame that is longer than the maximum, of a kind that may be skipped, such as telemetry. The
    /// session skips it.
    TooLong {
        /// Size of the frame's body in bytes.
        len: usize,
    },
}

impl ClientSession {
    /// Begins the handshake: appends the hello to `out`.
    ///
    /// # Errors
    ///
    /// If the hello is longer than `max_frame_size`, the largest body of a frame in either direction, in bytes.
    pub fn start(
        hello: Hello,
        max_frame_size: usize,
        out: &mut Vec<u8>,
    ) -> Result<Self, EncodeError> {
        let body = v1::RawJson::encode(&hello).map_err(EncodeError::Json)?;
        v1::Request::new(HELLO_ID, HELLO_METHOD, body).encode(max_frame_size, out)?;
        Ok(Self {
            decoder: FrameDecoder::new(max_frame_size),
            state: State::Handshake(hello),
        })
    }

    /// Decodes the next event from the front of `input`; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// If the worker violated the protocol. Close the connection. After [`SessionError::Message`] only, the next frame
    /// can still be decoded: rule 1-B5 of the specification says when a client may go on.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<ClientEvent>, SessionError> {
        loop {
            let frame = match self.decoder.decode(input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(None),
                Err(error) => return self.on_frame_error(error, input),
            };
            if let Some(event) = self.on_frame(frame)? {
                return Ok(Some(event));
            }
        }
    }

    /// The worker; `None` before [`ClientEvent::Ready`].
    pub fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::Handshake(_) => None,
            State::Ready(peer) => Some(peer),
        }
    }

    /// Skips a frame that is too long, if its kind, the byte after the prefix, may be skipped.
    fn on_frame_error(
        &mut self,
        error: FrameError,
        input: &mut BytesMut,
    ) -> Result<Option<ClientEvent>, SessionError> {
        let FrameError::TooLarge { len, .. } = error else {
            return Err(error.into());
        };
        match input.get(LENGTH_PREFIX) {
            None if self.speaks_v2() => Ok(None),
            Some(kind) if self.speaks_v2() && v2::is_skippable(*kind) => {
                self.decoder.skip(len, input);
                Ok(Some(ClientEvent::TooLong { len }))
            }
            _ => Err(error.into()),
        }
    }

    fn on_frame(&mut self, frame: Bytes) -> Result<Option<ClientEvent>, SessionError> {
        if self.speaks_v2() && v2::is_frame(&frame) {
            return self.on_binary(v2::Message::decode_owned(frame)?);
        }
        match v1::Message::decode_from_worker(&frame).map_err(|error| explained(&frame, error))? {
            v1::Message::Response(response) => self.on_response(response).map(Some),
            v1::Message::Unknown { .. } => Ok(None),
            other => Err(unexpected(other.name())),
        }
    }

    fn speaks_v2(&self) -> bool {
        self.peer()
            .is_some_and(|peer| peer.version() == Version::V2)
    }

    fn on_binary(&self, message: v2::Message) -> Result<Option<ClientEvent>, SessionError> {
        match message {
            v2::Message::Response(response) => ready_response(response).map(Some),
            v2::Message::Pong(pong) => Ok(Some(ClientEvent::Pong(pong.id))),
            v2::Message::Drain => Ok(Some(ClientEvent::Drain)),
            v2::Message::Telemetry(records) => Ok(self
                .wants_telemetry()
                .then_some(ClientEvent::Telemetry(records))),
            v2::Message::Unknown { .. } => Ok(None),
            other => Err(unexpected(other.name())),
        }
    }

    fn wants_telemetry(&self) -> bool {
        self.peer()
            .is_some_and(|peer| peer.features().has_telemetry())
    }

    fn on_response(&mut self, response: v1::Response) -> Result<ClientEvent, SessionError> {
        match &self.state {
            State::Ready(_) => ready_response(response.into()),
            State::Handshake(_) if response.id == 0 && response.result.is_err() => {
                ready_response(response.into())
            }
            State::Handshake(hello) => {
                self.state = State::Ready(negotiate(hello, response)?);
                Ok(ClientEvent::Ready)
            }
        }
    }
}

/// A response to a request, unless it is an error of the connection.
fn ready_response(response: Response) -> Result<ClientEvent, SessionError> {
    match response {
        Response {
            id: 0,
            result: Err(failure),
            ..
        } => Err(SessionError::Refused {
            message: failure.message,
        }),
        response => Ok(ClientEvent::Response(response)),
    }
}

/// Names a message that only clients send.
fn explained(frame: &Bytes, error: MessageError) -> SessionError {
    match v1::Message::decode_from_client(frame) {
        Ok(message) => unexpected(message.name()),
        Err(_) => error.into(),
    }
}

fn unexpected(got: &'static str) -> SessionError {
    SessionError::Unexpected {
        got,
        expected: "response",
    }
}

fn negotiate(hello: &Hello, response: v1::Response) -> Result<Peer, SessionError> {
    if response.id != HELLO_ID {
        return Err(SessionError::HelloId {
            id: response.id,
            expected: HELLO_ID,
        });
    }
    match response.result {
        Ok(body) => Peer::decode(&body, hello),
        // A worker that does not know the hello responds that the method is unknown.
        Err(_) => Ok(Peer::Legacy),
    }
}
