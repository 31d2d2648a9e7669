//! How a client is told of failures.

use pyproc_protocol::v2::{Answer, Failure, Times};
use pyproc_protocol::{ERROR_TRACEBACK, ERROR_TYPE, EncodeError, Response, Version};

const TOO_LONG: &str = "an error too long for a frame";

/// How a client is answered.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) version: Version,
    pub(crate) details: bool,
    pub(crate) max_frame_size: usize,
}

impl Form {
    /// Appends a failure, or a note in its place if it is too long.
    pub(crate) fn write_failure(
        &self,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) {
        if self.try_failure(id, times, failure, out).is_err() {
            let note = Failure {
                message: TOO_LONG.into(),
                ..Failure::default()
            };
            // The smallest maximum is 1,024 bytes.
            let _ = self.try_failure(id, times, &note, out);
        }
    }

    fn try_failure(
        &self,
        id: u64,
        times: Option<Times>,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.version == Version::V2 {
            let answer = Answer {
                id,
                times,
                result: Err(Box::new(failure.clone())),
            };
            return answer.encode(self.max_frame_size, out);
        }
        let mut response = Response::failure(id, &failure.message);
        if self.details && !failure.type_name.is_empty() {
            let details = [
                (ERROR_TYPE, &failure.type_name),
                (ERROR_TRACEBACK, &failure.traceback),
            ];
            response.headers = details
                .map(|(name, text)| (name.into(), text.clone()))
                .into();
        }
        response.encode(self.max_frame_size, out)
    }
}
