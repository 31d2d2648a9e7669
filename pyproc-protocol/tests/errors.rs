//! Each error names its cause in one line, and its sources repeat nothing of that.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{error::Error, io};

use bytes::{Bytes, BytesMut};
use pyproc_protocol::{
    Cancellation, ClientSession, EncodeError, FrameDecoder, Hello, MessageError,
    codec::CodecError,
    encode_json,
    v1::Message,
    v2::{self, telemetry::Record},
};

/// What a reader of the error sees who follows its sources, too.
fn with_sources(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_sources(source)),
        None => error.to_string(),
    }
}

#[track_caller]
fn says(error: &dyn Error, expected: &str) {
    assert_eq!(error.to_string(), expected);
    assert_eq!(with_sources(error), expected);
}

/// What a session makes of what a worker sends first.
fn session_refuses(sent: &[u8]) -> impl Error {
    let mut session = ClientSession::start(Hello::new("test"), 1024, &mut Vec::new()).unwrap();
    session.receive(&mut BytesMut::from(sent)).unwrap_err()
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn no_message() -> MessageError {
    Message::decode(&Bytes::from_static(b"{\"id\":x}")).unwrap_err()
}

#[test]
fn a_session_names_the_limit_the_place_and_the_reason() {
    says(
        &session_refuses(&1025_u32.to_be_bytes()),
        "the peer sent bytes that are not frames: the frame at byte 0 of the stream announces 1025 bytes, \
         the limit is 1024: send less at once, or raise the maximum frame size (`max_frame_size`, `PYPROC_MAX_FRAME_SIZE`) on both sides",
    );
    says(
        &session_refuses(&framed(b"{\"id\":x}")),
        "the peer sent a frame that is not a message: the frame of 8 bytes is not a valid message: \
         expected value at line 1 column 7",
    );
    says(
        &session_refuses(&framed(br#"{"id":1,"ok":true,"body":"hi"}"#)),
        "the peer's hello makes no sense: invalid type: string \"hi\", expected struct WorkerInfo \
         at line 1 column 4",
    );
}

#[test]
fn a_binary_message_names_what_is_wrong_with_a_text() {
    let cancellation = v2::Message::Cancellation(Cancellation {
        id: 1,
        reason: "x".into(),
    });
    let mut frame = Vec::new();
    cancellation.encode(1024, &mut frame).unwrap();
    *frame.last_mut().unwrap() = 0xff;
    let error = v2::Message::decode_owned(Bytes::from(frame.split_off(4))).unwrap_err();
    let text = "the reason is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0";
    says(&error, text);
    says(
        &pyproc_protocol::SessionError::from(error),
        &format!("the peer sent a frame that is not a message of version 2: {text}"),
    );
}

#[test]
fn a_value_that_cannot_be_written_says_why() {
    let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = encode_json(&odd, 1000, &mut Vec::new()).unwrap_err();
    says(
        &error,
        "the value cannot be written as JSON: key must be a string",
    );
}

#[test]
fn a_record_that_cannot_be_read_says_why() {
    let error = Record::decode_line(b"{\"type\":\"lost\",\"logs\":x}").unwrap_err();
    says(
        &error,
        "the telemetry record of 24 bytes cannot be read: expected value at line 1 column 23",
    );
}

#[test]
fn a_stream_of_messages_says_why_it_ended() {
    says(
        &CodecError::from(no_message()),
        "the peer sent a frame that is not a message: the frame of 8 bytes is not a valid message: \
         expected value at line 1 column 7",
    );
    let error = FrameDecoder::new(64).decode(&mut BytesMut::from(&[0; 4][..]));
    says(
        &CodecError::from(error.unwrap_err()),
        "the peer sent bytes that are not frames: the frame at byte 0 of the stream is empty",
    );
    says(
        &CodecError::from(EncodeError::NotJson),
        "the message cannot be sent: version 1 of the protocol carries JSON only; the peer does not \
         speak version 2",
    );
}

#[test]
fn what_lies_below_the_cause_is_the_source() {
    let refused = io::Error::other(CodecError::from(io::Error::from_raw_os_error(24)));
    let error = CodecError::from(io::Error::other(Layered(refused)));
    assert_eq!(
        with_sources(&error),
        "the connection failed: TLS: the connection failed: Too many open files (os error 24)"
    );
    assert_eq!(error.to_string(), "the connection failed: TLS");
}

/// A foreign error, whose text leaves its cause to its source.
#[derive(Debug)]
struct Layered(io::Error);

impl std::fmt::Display for Layered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TLS")
    }
}

impl Error for Layered {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
