use crate::{FrameError, MessageError, v2};

/// The peer violated the protocol. Close the connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer sent bytes that are not frames.
    #[error("the peer sent bytes that are not frames: {0}")]
    Frame(FrameError),
    /// The peer sent a frame that is not a message.
    #[error("the peer sent a frame that is not a message: {0}")]
    Message(MessageError),
    /// The peer sent a binary frame that is not a message of version 2.
    #[error("the peer sent a frame that is not a message of version 2: {0}")]
    Binary(v2::DecodeError),
    /// The peer sent a message that this side does not accept, or not at this time.
    #[error("the peer sent a {got} where only a {expected} makes sense")]
    Unexpected {
        /// The received message.
        got: &'static str,
        /// The expected message.
        expected: &'static str,
    },
    /// The response to the hello has a wrong id.
    #[error("the answer to the hello has id {id}, expected {expected}")]
    HelloId {
        /// The response's id.
        id: u64,
        /// The hello's id.
        expected: u64,
    },
    /// The body of the hello, or of its response, is invalid.
    #[error("the peer's hello makes no sense: {0}")]
    HelloBody(serde_json::Error),
    /// The worker chose a version that the client did not offer.
    #[error("the worker chose version {version} of the protocol, which was not offered")]
    Version {
        /// The worker's choice.
        version: u32,
    },
    /// The worker closes the connection: it could not decode what this side sent, or does not serve this user.
    #[error("the worker ended the connection: {message}")]
    Refused {
        /// The worker's reason.
        message: String,
    },
}

impl From<FrameError> for SessionError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<MessageError> for SessionError {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

impl From<v2::DecodeError> for SessionError {
    fn from(error: v2::DecodeError) -> Self {
        Self::Binary(error)
    }
}

impl SessionError {
    /// The text for the peer, without the words "the peer".
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Frame(error) => error.to_string(),
            Self::Message(error) => error.to_string(),
            Self::Binary(error) => error.to_string(),
            Self::Unexpected { got, expected } => format!("expected a {expected}, got a {got}"),
            other => other.to_string(),
        }
    }
}
