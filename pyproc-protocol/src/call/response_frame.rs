use crate::{Codec, EncodeError, LENGTH_PREFIX, Times, Version, v1, v2};

/// The frame of a result while it is written. A worker appends the payload directly to its send buffer, so that
/// nothing is copied.
///
/// ```
/// # use pyproc_protocol::{Codec, ResponseFrame, Version};
/// let mut wire = Vec::new();
/// let frame = ResponseFrame::begin(Version::V1, 7, Codec::Json, None, &mut wire)?;
/// wire.extend_from_slice(b"84");
/// frame.finish(1024, &mut wire)?;
/// assert_eq!(&wire[4..], br#"{"id":7,"ok":true,"body":84}"#);
/// # Ok::<(), pyproc_protocol::EncodeError>(())
/// ```
#[derive(Debug)]
#[must_use = "the frame is not complete before `finish`"]
pub struct ResponseFrame {
    start: usize,
    version: Version,
}

impl ResponseFrame {
    /// Appends everything that comes before the payload to `out`. Version 1 does not send times.
    ///
    /// # Errors
    ///
    /// If the payload is not JSON and the version is 1.
    pub fn begin(
        version: Version,
        id: u64,
        codec: Codec,
        times: Option<Times>,
        out: &mut Vec<u8>,
    ) -> Result<Self, EncodeError> {
        if version == Version::V1 && codec != Codec::Json {
            return Err(EncodeError::NotJson);
        }
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_PREFIX]);
        match version {
            Version::V1 => v1::response_head(id, out),
            Version::V2 => v2::response_head(id, codec, times, out),
        }
        Ok(Self { start, version })
    }

    /// Completes the frame, after the caller appended the payload to the same `out`.
    ///
    /// # Errors
    ///
    /// If the frame is larger than `max_frame_size`. Then `out` is as it was before the frame began.
    pub fn finish(self, max_frame_size: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.version == Version::V1 {
            out.push(b'}');
        }
        let size = out.len() - self.start - LENGTH_PREFIX;
        let Some(prefix) = u32::try_from(size).ok().filter(|_| size <= max_frame_size) else {
            self.abandon(out);
            return Err(EncodeError::TooLarge {
                max: max_frame_size,
            });
        };
        out[self.start..self.start + LENGTH_PREFIX].copy_from_slice(&prefix.to_be_bytes());
        Ok(())
    }

    /// Resets `out` to what it was before the frame began, if there is no result after all.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}
