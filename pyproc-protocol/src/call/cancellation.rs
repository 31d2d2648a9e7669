use crate::{Cancellation, EncodeError, Version, v1, v2};

impl Cancellation {
    /// Appends the cancellation as one frame to `out`. On an error `out` is unchanged.
    ///
    /// # Errors
    ///
    /// If the frame is larger than `max_frame_size`.
    pub fn encode(
        &self,
        version: Version,
        max_frame_size: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match version {
            Version::V1 => v1::encode_cancellation(self, max_frame_size, out),
            Version::V2 => v2::encode_cancellation(self, max_frame_size, out),
        }
    }
}
