use super::ResponseFrame;
use crate::{Codec, EncodeError, Failure, Times, Version, v1, v2};

const TOO_LONG: &str = "an error too long for a frame";

/// Encodes responses: in the request's version, and with the features that the client agreed to.
///
/// It is a copy of what the session knows. So a response can be encoded where the session is not available, such as on
/// another thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseEncoder {
    version: Version,
    error_details: bool,
    max_frame_size: usize,
}

impl ResponseEncoder {
    /// An encoder for this version. `error_details` is the feature
    /// [`Features::error_details`](crate::Features::error_details); `max_frame_size` the largest body of a frame, in bytes.
    /// [`WorkerSession::response_encoder`](crate::WorkerSession::response_encoder) returns the one of a connection.
    pub fn new(version: Version, error_details: bool, max_frame_size: usize) -> Self {
        Self {
            version,
            error_details,
            max_frame_size,
        }
    }

    /// The request's version.
    pub fn version(self) -> Version {
        self.version
    }

    /// The largest body of a frame, in bytes.
    pub fn max_frame_size(self) -> usize {
        self.max_frame_size
    }

    /// Whether an error's type and traceback are sent.
    pub fn has_error_details(self) -> bool {
        self.error_details || self.version == Version::V2
    }

    /// Begins the frame of a result, as [`ResponseFrame::begin`] does.
    ///
    /// # Errors
    ///
    /// If the payload is not JSON and the version is 1.
    pub fn begin(
        self,
        id: u64,
        codec: Codec,
        times: Option<Times>,
        out: &mut Vec<u8>,
    ) -> Result<ResponseFrame, EncodeError> {
        ResponseFrame::begin(self.version, id, codec, times, out)
    }

    /// Appends a failure to `out`; a short note takes its place if it is too long for a frame. Version 1 sends neither
    /// times nor `retryable`, and shortens a long type or traceback.
    ///
    /// # Errors
    ///
    /// If not even the note fits, which needs a maximum of a few dozen bytes.
    pub fn encode_failure(
        self,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.encode_unshortened(id, times, failure, out)
            .or_else(|_| {
                let note = Failure {
                    message: TOO_LONG.into(),
                    ..Failure::default()
                };
                self.encode_unshortened(id, times, &note, out)
            })
    }

    fn encode_unshortened(
        self,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match self.version {
            Version::V1 => {
                let response = v1::Response::from_failure(id, failure, self.error_details);
                response.encode(self.max_frame_size, out)
            }
            Version::V2 => v2::encode_failure(id, times, failure, self.max_frame_size, out),
        }
    }
}
