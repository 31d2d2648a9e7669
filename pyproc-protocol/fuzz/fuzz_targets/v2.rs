//! Any bytes give a message of version 2 or a typed error; any message that was read can be
//! written, and reads the same again.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use pyproc_protocol::{FrameDecoder, v2::Message};

fuzz_target!(|bytes: &[u8]| {
    let frame = Bytes::copy_from_slice(bytes);
    let message = match Message::decode(&frame) {
        Ok(Message::Unknown { .. }) | Err(_) => return,
        Ok(message) => message,
    };
    let mut out = Vec::new();
    message
        .encode(bytes.len(), &mut out)
        .expect("no longer than it came");
    let again = FrameDecoder::new(bytes.len()).decode(&mut BytesMut::from(&out[..]));
    let again = again.expect("our own frame").expect("it is whole");
    assert_eq!(Message::decode(&again).expect("our own message"), message);
});
