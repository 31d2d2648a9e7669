use bytes::{Buf, Bytes, BytesMut};

use crate::FrameError;

/// Size in bytes of the length prefix before each frame's body.
pub const LENGTH_PREFIX: usize = 4;

/// Splits a stream of bytes into frames.
///
/// The caller owns the buffer and appends what it receives. Each call of [`decode`](Self::decode) removes at most one
/// frame from its front.
///
/// ```
/// # use bytes::BytesMut;
/// # use pyproc_protocol::FrameDecoder;
/// let mut decoder = FrameDecoder::new(1024);
/// let mut input = BytesMut::from(&b"\0\0\0\x02{"[..]);
/// assert_eq!(decoder.decode(&mut input)?, None); // needs one byte more
/// input.extend_from_slice(b"}");
/// assert_eq!(decoder.decode(&mut input)?.as_deref(), Some(&b"{}"[..]));
/// # Ok::<(), pyproc_protocol::FrameError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FrameDecoder {
    max_frame_size: usize,
    offset: u64,
    /// Bytes of a skipped frame that have not arrived yet.
    to_skip: usize,
}

impl FrameDecoder {
    /// A decoder at the start of a stream. It rejects bodies of more than `max_frame_size` bytes.
    pub fn new(max_frame_size: usize) -> Self {
        Self {
            max_frame_size,
            offset: 0,
            to_skip: 0,
        }
    }

    /// Removes the next whole frame from the front of `input` and returns its body; `None` if more bytes are needed.
    ///
    /// It checks the length as soon as the prefix is there. Then it reserves space for the rest of the frame in `input`,
    /// so that one large read can follow.
    ///
    /// # Errors
    ///
    /// If the length is zero or above the maximum. The stream cannot be decoded any further.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        if self.to_skip > 0 {
            self.discard(input);
        }
        let Some(prefix) = input.first_chunk::<LENGTH_PREFIX>() else {
            return Ok(None);
        };
        // On a 16-bit machine the length may not fit; it is above any maximum then.
        let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        self.check(len)?;
        let missing = (LENGTH_PREFIX + len).saturating_sub(input.len());
        if missing > 0 {
            input.reserve(missing);
            return Ok(None);
        }
        input.advance(LENGTH_PREFIX);
        self.offset += (LENGTH_PREFIX + len) as u64;
        Ok(Some(input.split_to(len).freeze()))
    }

    /// Skips the frame at the front of `input`, of which `len` bytes follow the prefix. Its bytes are dropped as they
    /// arrive, and take no memory.
    pub(crate) fn skip(&mut self, len: usize, input: &mut BytesMut) {
        self.to_skip = LENGTH_PREFIX + len;
        self.advance(self.to_skip);
        self.discard(input);
    }

    /// Counts a frame of `len` bytes, prefix included, that the caller reads itself.
    pub(crate) fn advance(&mut self, len: usize) {
        self.offset += len as u64;
    }

    fn discard(&mut self, input: &mut BytesMut) {
        let here = self.to_skip.min(input.len());
        input.advance(here);
        self.to_skip -= here;
    }

    fn check(&self, len: usize) -> Result<(), FrameError> {
        let (max, offset) = (self.max_frame_size, self.offset);
        match len {
            0 => Err(FrameError::Empty { offset }),
            _ if len > max => Err(FrameError::TooLarge { len, max, offset }),
            _ => Ok(()),
        }
    }
}
