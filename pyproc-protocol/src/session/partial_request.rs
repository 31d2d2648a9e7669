//! Payloads that are not collected in the input, but read to where they belong.

use bytes::{Bytes, BytesMut};

use super::WorkerSession;
use crate::{
    LENGTH_PREFIX, Version,
    v2::{self, Codec},
};

/// Bytes of a request that are looked at before it is whole: its payload begins within them.
const BEGINNING: usize = 4 * 1024;

/// A request of version 2 whose raw payload has begun to come.
#[derive(Debug)]
pub struct BegunRequest {
    /// The request; of the body, only the codec.
    pub request: v2::Request,
    /// Bytes of the payload.
    pub payload: usize,
    /// Bytes of the frame before it, prefix included.
    head: usize,
}

impl BegunRequest {
    /// What has come of the payload, in the input at whose front the request is.
    pub fn beginning<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input.get(self.head..).unwrap_or_default()
    }
}

impl WorkerSession {
    /// The request at the front of `input`, if it has a raw payload of at least `least` bytes that has not come whole: then the
    /// caller may read the rest to where it belongs, see [`take_begun`](Self::take_begun). Ask when
    /// [`receive`](Self::receive) returned `None`.
    pub fn begun_request(&self, input: &[u8], least: usize) -> Option<BegunRequest> {
        let (prefix, body) = input.split_first_chunk::<LENGTH_PREFIX>()?;
        let len = u32::from_be_bytes(*prefix) as usize;
        let is_candidate = (least..=self.max_frame_size).contains(&len) && body.len() < len;
        if !is_candidate || self.version == Version::V1 || self.draining || !v2::is_frame(body) {
            return None;
        }
        let beginning = Bytes::copy_from_slice(&body[..body.len().min(BEGINNING)]);
        let beginning_len = beginning.len();
        // A payload is all the rest of its frame, so a frame that is cut off within it says all but its end.
        let Ok(v2::Message::Request(mut request)) = v2::Message::of_frame(beginning) else {
            return None;
        };
        let head = beginning_len - request.body.bytes.len();
        request.body.bytes = Bytes::new();
        let begun = BegunRequest {
            payload: len - head,
            head: LENGTH_PREFIX + head,
            request,
        };
        (begun.request.body.codec == Codec::Raw && begun.payload >= least).then_some(begun)
    }

    /// Takes the beginning of a request off `input`, which is empty afterwards. What has come of the payload, see
    /// [`BegunRequest::beginning`], and all that follows is the caller's: the next bytes for [`receive`](Self::receive)
    /// are those behind it.
    pub fn take_begun(&mut self, begun: &BegunRequest, input: &mut BytesMut) {
        self.decoder.pass(begun.head + begun.payload);
        input.clear();
    }
}
