use bytes::BytesMut;

use crate::{
    EncodeError, FrameDecoder, HELLO_METHOD, Hello, Message, Peer, RawJson, Request, Response,
    SessionError,
};

const HELLO_ID: u64 = 1;

/// The client's end of one connection: the handshake, then responses.
///
/// Begin with [`start`](Self::start), send what it wrote, and feed what
/// arrives to [`receive`](Self::receive). Requests may be sent once
/// [`Event::Ready`] came out.
///
/// ```
/// # use bytes::BytesMut;
/// # use pyproc_protocol::{Event, Hello, Session, DEFAULT_MAX_FRAME_SIZE};
/// let mut to_worker = Vec::new();
/// let mut session =
///     Session::start(Hello::new("example/1.0"), DEFAULT_MAX_FRAME_SIZE, &mut to_worker)?;
/// // ... send `to_worker`; an old worker answers:
/// let answer = br#"{"id":1,"ok":false,"error":"Method 'pyproc.hello' not found"}"#;
/// let mut from_worker = BytesMut::from(&[&[0, 0, 0, answer.len() as u8][..], answer].concat()[..]);
/// assert_eq!(session.receive(&mut from_worker)?, Some(Event::Ready));
/// assert_eq!(session.peer().map(|peer| peer.version()), Some(1));
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
    Response(Response),
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
    /// When the worker broke the protocol. Close the connection then.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Event>, SessionError> {
        while let Some(frame) = self.decoder.decode(input)? {
            match Message::decode(&frame)? {
                Message::Response(response) => return self.on_response(response).map(Some),
                Message::Unknown { .. } => {}
                other => {
                    return Err(SessionError::Unexpected {
                        got: other.kind(),
                        expected: "response",
                    });
                }
            }
        }
        Ok(None)
    }

    /// The worker, once [`Event::Ready`] came out.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::AwaitingHello(_) => None,
            State::Ready(peer) => Some(peer),
        }
    }

    fn on_response(&mut self, response: Response) -> Result<Event, SessionError> {
        if response.id == 0 {
            return Err(SessionError::Refused {
                message: response.result.err().unwrap_or_default(),
            });
        }
        match &self.state {
            State::Ready(_) => Ok(Event::Response(response)),
            State::AwaitingHello(hello) => {
                self.state = State::Ready(introduction(hello, response)?);
                Ok(Event::Ready)
            }
        }
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
