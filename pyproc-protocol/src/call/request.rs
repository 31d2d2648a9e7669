use crate::{
    Codec, EncodeError, Headers, RequestHead, RequestTail, Version, limits::LARGEST_BODY, message,
    v1, v2,
};

impl RequestHead<'_> {
    /// Maximum size in bytes of a payload, so that its frame is not larger than `max_frame_size`, whatever the
    /// version, the id and the optional parts of the head.
    pub fn max_payload(method: &str, headers: &Headers, max_frame_size: usize) -> usize {
        let longest = v1::longest_head(method, headers).max(v2::longest_head(method, headers));
        max_frame_size.min(LARGEST_BODY).saturating_sub(longest)
    }

    /// Appends the whole request as one frame to `out`. On an error `out` is unchanged.
    ///
    /// # Errors
    ///
    /// If the frame is larger than `max_frame_size`, a name is too long, the headers exceed a limit, or the payload is
    /// not JSON and the version is 1.
    pub fn encode(
        &self,
        version: Version,
        payload: &[u8],
        max_frame_size: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let tail = self.begin(version, payload.len(), max_frame_size, out)?;
        out.extend_from_slice(payload);
        out.extend_from_slice(tail.as_bytes());
        Ok(())
    }

    /// Appends everything that comes before a payload of `len` bytes to `out`. The caller must append the payload and
    /// then the returned tail. On an error `out` is unchanged.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode).
    pub fn begin(
        &self,
        version: Version,
        len: usize,
        max_frame_size: usize,
        out: &mut Vec<u8>,
    ) -> Result<RequestTail, EncodeError> {
        message::check(self.headers).map_err(EncodeError::Headers)?;
        match version {
            Version::V1 if self.codec != Codec::Json => Err(EncodeError::NotJson),
            Version::V1 => v1::begin_request(self, len, max_frame_size, out),
            Version::V2 => {
                v2::begin_request(self, len, max_frame_size, out).map(|()| RequestTail::Empty)
            }
        }
    }
}
