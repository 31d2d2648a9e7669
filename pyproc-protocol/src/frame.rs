use bytes::{Buf, Bytes, BytesMut};

use crate::FrameError;

/// Bytes of the length prefix before each frame's body.
pub const LENGTH_PREFIX: usize = 4;

/// Maximum frame size unless set otherwise: 10 MiB, as in the first release of the
/// protocol.
pub const DEFAULT_MAX_FRAME_SIZE: usize = 10 * 1024 * 1024;

/// Cuts a stream of bytes into frames.
///
/// The caller owns the buffer and appends what arrives; each call of
/// [`decode`](Self::decode) takes at most one frame off its front.
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
    /// Bytes of a frame that are still to come, and not wanted.
    unwanted: usize,
}

impl FrameDecoder {
    /// A decoder at the start of a stream that refuses bodies of more than
    /// `max_frame_size` bytes.
    pub fn new(max_frame_size: usize) -> Self {
        Self {
            max_frame_size,
            offset: 0,
            unwanted: 0,
        }
    }

    /// Takes the next whole frame's body off the front of `input`; `None` when more
    /// bytes are needed.
    ///
    /// The length is checked as soon as the prefix is there. Then room for the rest of the frame
    /// is reserved in `input`, so that one large read can follow.
    ///
    /// # Errors
    ///
    /// When the prefix is zero or above the maximum; the stream cannot be
    /// followed any further.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        if self.unwanted > 0 {
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

    /// Reads past the frame at the front of `input`, of which `len` bytes follow the prefix, as they arrive. They take no memory.
    pub(crate) fn skip(&mut self, len: usize, input: &mut BytesMut) {
        self.unwanted = LENGTH_PREFIX + len;
        self.pass(self.unwanted);
        self.discard(input);
    }

    /// A frame of so many bytes, prefix included, is read by somebody else.
    pub(crate) fn pass(&mut self, len: usize) {
        self.offset += len as u64;
    }

    fn discard(&mut self, input: &mut BytesMut) {
        let here = self.unwanted.min(input.len());
        input.advance(here);
        self.unwanted -= here;
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
