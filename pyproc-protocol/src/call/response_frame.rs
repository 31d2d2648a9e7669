use crate::{
    EncodeError, LENGTH_PREFIX, Version,
    v2::{self, Codec, Times},
};

/// The frame of a result that is being written: a worker appends the payload where it is to be sent
/// from, so that nothing is copied.
///
/// ```
/// # use pyproc_protocol::{AnswerFrame, Version, v2::Codec};
/// let mut wire = Vec::new();
/// let frame = AnswerFrame::begin(Version::V1, 7, Codec::Json, None, &mut wire)?;
/// wire.extend_from_slice(b"84");
/// frame.finish(1024, &mut wire)?;
/// assert_eq!(&wire[4..], br#"{"id":7,"ok":true,"body":84}"#);
/// # Ok::<(), pyproc_protocol::EncodeError>(())
/// ```
#[derive(Debug)]
#[must_use = "the frame is not complete before `finish`"]
pub struct AnswerFrame {
    start: usize,
    version: Version,
}

impl AnswerFrame {
    /// Appends all that comes before the payload to `out`. Version 1 carries no times.
    ///
    /// # Errors
    ///
    /// When the payload is no JSON and the version is 1.
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
            Version::V1 => {
                out.extend_from_slice(b"{\"id\":");
                out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
                out.extend_from_slice(b",\"ok\":true,\"body\":");
            }
            Version::V2 => v2::answer_header(id, codec, times, out),
        }
        Ok(Self { start, version })
    }

    /// Completes the frame, after the payload was appended to the same `out`.
    ///
    /// # Errors
    ///
    /// When the frame is larger than `max_frame_size`; `out` is then as it was before the frame began.
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

    /// Leaves `out` as it was before the frame began: there is no such result after all.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}
