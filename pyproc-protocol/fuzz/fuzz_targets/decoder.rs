//! Any bytes give frames, "more bytes" or a typed error; any message that was read can be
//! written, and reads the same again.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use pyproc_protocol::{FrameDecoder, Version, v1::Message};

const MAX: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = FrameDecoder::new(MAX);
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(frame)) = decoder.decode(&mut input) {
        assert!(!frame.is_empty() && frame.len() <= MAX);
        reads(&frame);
    }
    // The same as one body, so that most inputs get past the length prefix.
    reads(&bytes.to_vec().into());
});

fn reads(frame: &Bytes) {
    for message in [
        Message::decode_from_client(frame),
        Message::decode_from_worker(frame),
        Message::decode(frame),
    ] {
        message.into_iter().for_each(reads_the_same_again);
    }
}

fn reads_the_same_again(message: Message) {
    // Escapes may make a message longer than it came.
    let max = 64 * MAX;
    let mut out = Vec::new();
    let written = match &message {
        Message::Request(it) => it.encode(max, &mut out),
        Message::Response(it) => it.encode(max, &mut out),
        Message::Cancellation(it) => it.encode(Version::V1, max, &mut out),
        _ => return,
    };
    if written.is_err() {
        assert!(out.is_empty());
        return;
    }
    let frame = FrameDecoder::new(max).decode(&mut BytesMut::from(&out[..]));
    let frame = frame.expect("our own frame").expect("it is whole");
    assert_eq!(Message::decode(&frame).expect("our own message"), message);
}
