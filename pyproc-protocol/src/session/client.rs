use bytes::{Bytes, BytesMut};

use crate::{
    EncodeError, FrameDecoder, FrameError, HELLO_METHOD, Hello, LENGTH_PREFIX, Message,
    MessageError, Peer, RawJson, Request, Response, SessionError, Version,
    v2::{self, Answer},
};

const HELLO_ID: u64 = 1;

/// The client's end of one connection: the handshake, then answers, in whichever version they come.
///
/// Begin with [`start`](Self::start), send what it wrote, and feed what
/// arrives to [`receive`](Self::receive). Requests may be sent once
/// [`Event::Ready`] came out.
///
/// ```
/// # use bytes::BytesMut;
/// # use pyproc_protocol::{Event, Hello, Session, Version, DEFAULT_MAX_FRAME_SIZE};
/// let mut to_worker = Vec::new();
/// let mut session =
///     Session::start(Hello::new("example/1.0"), DEFAULT_MAX_FRAME_SIZE, &mut to_worker)?;
/// // ... send `to_worker`; an old worker answers:
/// let answer = br#"{"id":1,"ok":false,"error":"Method 'pyproc.hello' not found"}"#;
/// let mut from_worker = BytesMut::from(&[&[0, 0, 0, answer.len() as u8][..], answer].concat()[..]);
/// assert_eq!(session.receive(&mut from_worker)?, Some(Event::Ready));
/// assert_eq!(session.peer().map(|peer| peer.version()), Some(Version::V1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    decoder: FrameDecoder,
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitingHello(Hello),
    Ready(Peer),
}

/// Something that the worker did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is over; [`Session::peer`] knows the worker.
    Ready,
    /// An answer. Whether anybody asked is for the caller to check.
    Answer(Answer),
    /// The worker is there; the id is the ping's.
    Pong(u64),
    /// The worker takes no more requests; what it has, it answers.
    Drain,
    /// What the worker saw, if the hello asked for any of it: lines that
    /// [`v2::telemetry::records`] reads.
    Telemetry(Bytes),
    /// The worker sent a frame that is longer than the maximum, of a kind that may be skipped, such as telemetry. It is read past.
    TooLong {
        /// Bytes of the frame's body.
        len: usize,
    },
}

impl Session {
    /// Begins the conversation: appends the hello to `out`.
    ///
    /// # Errors
    ///
    /// When `max_frame_size` bytes (the largest body of a frame, in either direction) do not
    /// even hold the hello.
    pub fn start(
        hello: Hello,
        max_frame_size: usize,
        out: &mut Vec<u8>,
    ) -> Result<Self, EncodeError> {
        let body = RawJson::encode(&hello).map_err(EncodeError::Json)?;
        Request::new(HELLO_ID, HELLO_METHOD, body).encode(max_frame_size, out)?;
        Ok(Self {
            decoder: FrameDecoder::new(max_frame_size),
            state: State::AwaitingHello(hello),
        })
    }

    /// Takes the next event off the front of `input`; `None` when more bytes are
    /// needed.
    ///
    /// # Errors
    ///
    /// When the worker broke the protocol. Close the connection then. Only after [`SessionError::Message`] the next frame can be read all the
    /// same, for who knows which request the broken one answered (rule 1-B5 of the specification).
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Event>, SessionError> {
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

    /// The worker, once [`Event::Ready`] came out.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::AwaitingHello(_) => None,
            State::Ready(peer) => Some(peer),
        }
    }

    /// Reads past a frame that is too long, if its kind, which comes after the prefix, may be skipped.
    fn on_frame_error(
        &mut self,
        error: FrameError,
        input: &mut BytesMut,
    ) -> Result<Option<Event>, SessionError> {
        let FrameError::TooLarge { len, .. } = error else {
            return Err(error.into());
        };
        match input.get(LENGTH_PREFIX) {
            None if self.speaks_v2() => Ok(None),
            Some(kind) if self.speaks_v2() && v2::may_be_skipped(*kind) => {
                self.decoder.skip(len, input);
                Ok(Some(Event::TooLong { len }))
            }
            _ => Err(error.into()),
        }
    }

    fn on_frame(&mut self, frame: Bytes) -> Result<Option<Event>, SessionError> {
        if self.speaks_v2() && v2::is_frame(&frame) {
            return self.on_binary(v2::Message::of_frame(frame)?);
        }
        match Message::of_worker(&frame).map_err(|error| explained(&frame, error))? {
            Message::Response(response) => self.on_response(response).map(Some),
            Message::Unknown { .. } => Ok(None),
            other => Err(unexpected(other.kind())),
        }
    }

    fn speaks_v2(&self) -> bool {
        self.peer()
            .is_some_and(|peer| peer.version() == Version::V2)
    }

    fn on_binary(&self, message: v2::Message) -> Result<Option<Event>, SessionError> {
        match message {
            v2::Message::Answer(answer) => on_answer(answer).map(Some),
            v2::Message::Pong(pong) => Ok(Some(Event::Pong(pong.id))),
            v2::Message::Drain => Ok(Some(Event::Drain)),
            v2::Message::Telemetry(records) => {
                Ok(self.wants_telemetry().then_some(Event::Telemetry(records)))
            }
            v2::Message::Skippable { .. } => Ok(None),
            other => Err(unexpected(other.name())),
        }
    }

    fn wants_telemetry(&self) -> bool {
        self.peer()
            .is_some_and(|peer| peer.features().has_telemetry())
    }

    fn on_response(&mut self, response: Response) -> Result<Event, SessionError> {
        match &self.state {
            State::Ready(_) => on_answer(response.into()),
            State::AwaitingHello(_) if response.id == 0 && response.result.is_err() => {
                on_answer(response.into())
            }
            State::AwaitingHello(hello) => {
                self.state = State::Ready(introduction(hello, response)?);
                Ok(Event::Ready)
            }
        }
    }
}

fn on_answer(answer: Answer) -> Result<Event, SessionError> {
    match answer {
        Answer {
            id: 0,
            result: Err(failure),
            ..
        } => Err(SessionError::Refused {
            message: failure.message,
        }),
        answer => Ok(Event::Answer(answer)),
    }
}

/// What a client sends is named as that.
fn explained(frame: &Bytes, error: MessageError) -> SessionError {
    match Message::of_client(frame) {
        Ok(message) => unexpected(message.kind()),
        Err(_) => error.into(),
    }
}

fn unexpected(got: &'static str) -> SessionError {
    SessionError::Unexpected {
        got,
        expected: "response",
    }
}

fn introduction(hello: &Hello, response: Response) -> Result<Peer, SessionError> {
    if response.id != HELLO_ID {
        return Err(SessionError::HelloId {
            id: response.id,
            expected: HELLO_ID,
        });
    }
    match response.result {
        Ok(body) => Peer::introduced(&body, hello),
        // To a worker from before the hello it is just an unknown method.
        Err(_) => Ok(Peer::Plain),
    }
}
