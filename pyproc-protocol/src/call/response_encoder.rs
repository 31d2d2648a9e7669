use crate::{
    AnswerFrame, EncodeError, Response, Version,
    v2::{self, Codec, Failure, Times},
};

const TOO_LONG: &str = "an error too long for a frame";

/// How a request is answered: in its version, and as its client agreed to.
///
/// It is a copy of what the session knows, so that an answer can be written where the session is not at hand, such as
/// on another thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerForm {
    version: Version,
    details: bool,
    max_frame_size: usize,
}

impl AnswerForm {
    /// A form in this version, with the details of errors that [`Features::error_details`](crate::Features) stands for
    /// or without, for frames of at most `max_frame_size` bytes. [`WorkerSession::answer_form`](crate::WorkerSession)
    /// knows that of a connection.
    pub fn new(version: Version, details: bool, max_frame_size: usize) -> Self {
        Self {
            version,
            details,
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

    /// Whether the client learns an error's type and traceback.
    pub fn has_details(self) -> bool {
        self.details || self.version == Version::V2
    }

    /// Begins the frame of a result, as [`AnswerFrame::begin`] does.
    ///
    /// # Errors
    ///
    /// When the payload is no JSON and the version is 1.
    pub fn begin(
        self,
        id: u64,
        codec: Codec,
        times: Option<Times>,
        out: &mut Vec<u8>,
    ) -> Result<AnswerFrame, EncodeError> {
        AnswerFrame::begin(self.version, id, codec, times, out)
    }

    /// Appends a failure to `out`, or a note in its place when it is too long for a frame. Version 1 has neither times nor
    /// `retryable`, and shortens a long type or traceback.
    ///
    /// # Errors
    ///
    /// When not even the note fits, which takes a maximum of some dozen bytes.
    pub fn write_failure(
        self,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.write_whole(id, times, failure, out).or_else(|_| {
            let note = Failure {
                message: TOO_LONG.into(),
                ..Failure::default()
            };
            self.write_whole(id, times, &note, out)
        })
    }

    fn write_whole(
        self,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match self.version {
            Version::V1 => {
                let response = Response::of_failure(id, failure, self.details);
                response.encode(self.max_frame_size, out)
            }
            Version::V2 => v2::write_failure(id, times, failure, self.max_frame_size, out),
        }
    }
}
