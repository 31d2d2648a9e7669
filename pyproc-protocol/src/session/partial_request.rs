//! Large raw payloads, which the caller reads directly to their destination instead of through the input buffer.

use bytes::{Bytes, BytesMut};

use super::WorkerSession;
use crate::{Codec, LENGTH_PREFIX, Version, v2};

/// Maximum size in bytes of the parts before the payload, in a request that is decoded before it is complete.
const LONGEST_HEAD: usize = 4 * 1024;

/// A request of version 2 whose raw payload has not arrived completely.
#[derive(Debug)]
pub struct PartialRequest {
    /// The request. Its body has the codec only.
    pub request: v2::Request,
    /// Size of the whole payload in bytes.
    pub payload_len: usize,
    /// Size of the frame before the payload in bytes, prefix included.
    head_len: usize,
}

impl PartialRequest {
    /// The bytes of the payload that have arrived. The request must be at the front of `input`.
    pub fn received<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input.get(self.head_len..).unwrap_or_default()
    }
}

impl WorkerSession {
    /// The request at the front of `input`, if it has a raw payload of at least `min_len` bytes that has not arrived
    /// completely. Then the caller may read the rest of the payload itself, after
    /// [`take_partial_request`](Self::take_partial_request). Call this after [`receive`](Self::receive) returned `None`.
    pub fn partial_request(&self, input: &[u8], min_len: usize) -> Option<PartialRequest> {
        let (prefix, body) = input.split_first_chunk::<LENGTH_PREFIX>()?;
        let len = u32::from_be_bytes(*prefix) as usize;
        let is_candidate = (min_len..=self.max_frame_size).contains(&len) && body.len() < len;
        if !is_candidate || self.version == Version::V1 || self.draining || !v2::is_frame(body) {
            return None;
        }
        let received = Bytes::copy_from_slice(&body[..body.len().min(LONGEST_HEAD)]);
        let received_len = received.len();
        // A payload is the rest of its frame, so a frame that ends within it decodes, with a shorter payload.
        let Ok(v2::Message::Request(mut request)) = v2::Message::decode_owned(received) else {
            return None;
        };
        let head_len = received_len - request.body.bytes.len();
        request.body.bytes = Bytes::new();
        let partial = PartialRequest {
            payload_len: len - head_len,
            head_len: LENGTH_PREFIX + head_len,
            request,
        };
        let is_large = partial.payload_len >= min_len;
        (partial.request.body.codec == Codec::Raw && is_large).then_some(partial)
    }

    /// Hands a request over to the caller: clears `input`, which holds the request's first bytes. The caller copies the
    /// [received](PartialRequest::received) bytes of the payload before, and reads the rest of it from the connection. The
    /// next bytes for [`receive`](Self::receive) are those after the payload.
    pub fn take_partial_request(&mut self, partial: &PartialRequest, input: &mut BytesMut) {
        self.decoder.advance(partial.head_len + partial.payload_len);
        input.clear();
    }
}
