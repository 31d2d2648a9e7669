//! Each bound, at it and just over it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use bytes::{Bytes, BytesMut};
use pyproc_protocol::{
    DEFAULT_MAX_FRAME_SIZE, EncodeError, FrameDecoder, FrameError, Headers, MAX_HEADER_BYTES,
    MAX_HEADERS, MAX_ID, MessageError, RequestHead, TraceContext, Version, encode_json,
    v1::{Message, RawJson, Request},
};

/// A request whose frame body has exactly `size` bytes.
fn request_of(size: usize) -> Request {
    let empty = Request::new(MAX_ID, "m", RawJson::encode("").unwrap());
    let mut out = Vec::new();
    empty.encode(DEFAULT_MAX_FRAME_SIZE, &mut out).unwrap();
    let filler = "x".repeat(size - (out.len() - 4));
    Request::new(MAX_ID, "m", RawJson::encode(&filler).unwrap())
}

#[test]
fn a_frame_of_the_maximum_size_is_written_and_read() {
    let request = request_of(DEFAULT_MAX_FRAME_SIZE);
    let mut out = Vec::new();
    request.encode(DEFAULT_MAX_FRAME_SIZE, &mut out).unwrap();
    let mut decoder = FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE);
    let frame = decoder
        .decode(&mut BytesMut::from(&out[..]))
        .unwrap()
        .unwrap();
    assert_eq!(frame.len(), DEFAULT_MAX_FRAME_SIZE);
    assert_eq!(Message::decode(&frame).unwrap(), Message::Request(request));
}

#[test]
fn one_byte_more_is_refused_by_the_writer_which_leaves_nothing_behind() {
    let request = request_of(DEFAULT_MAX_FRAME_SIZE + 1);
    let mut out = vec![1, 2, 3];
    let error = request
        .encode(DEFAULT_MAX_FRAME_SIZE, &mut out)
        .unwrap_err();
    assert!(
        matches!(
            error,
            EncodeError::TooLarge {
                max: DEFAULT_MAX_FRAME_SIZE
            }
        ),
        "{error}"
    );
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn a_payload_that_fills_the_room_fits_whatever_the_version_and_the_rest_of_the_head() {
    let headers = Headers::from([("tenant \"".to_owned(), "雪".to_owned())]);
    for (method, headers) in [("m", Headers::new()), ("größe\n\"", headers)] {
        let max = 1000;
        let room = RequestHead::max_payload(method, &headers, max);
        let head = RequestHead {
            trace: Some(TraceContext {
                trace_id: [1; 16],
                span_id: [2; 8],
                flags: 1,
            }),
            deadline: Some(std::time::Duration::MAX),
            ..RequestHead::new(MAX_ID, method, &headers)
        };
        let longest = [Version::V1, Version::V2].map(|version| {
            let mut out = Vec::new();
            head.encode(version, &vec![b'1'; room], max, &mut out)
                .unwrap();
            out.len() - 4
        });
        assert_eq!(longest.into_iter().max(), Some(max), "{method}");
    }
}

#[test]
fn one_byte_more_is_refused_by_the_reader_with_sizes_and_offset() {
    let mut decoder = FrameDecoder::new(DEFAULT_MAX_FRAME_SIZE);
    let mut input = BytesMut::from(&b"\0\0\0\x02{}"[..]);
    input.extend_from_slice(&(DEFAULT_MAX_FRAME_SIZE as u32 + 1).to_be_bytes());
    assert!(decoder.decode(&mut input).unwrap().is_some());
    assert_eq!(
        decoder.decode(&mut input).unwrap_err(),
        FrameError::TooLarge {
            len: DEFAULT_MAX_FRAME_SIZE + 1,
            max: DEFAULT_MAX_FRAME_SIZE,
            offset: 6
        }
    );
}

#[test]
fn a_body_nested_100_000_deep_is_a_typed_error_of_whoever_reads_it() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let frame = Bytes::from(format!(r#"{{"id":1,"ok":true,"body":{deep}}}"#));
    let Ok(Message::Response(response)) = Message::decode(&frame) else {
        panic!("the envelope itself is not deep");
    };
    let error = response
        .result
        .unwrap()
        .decode::<serde_json::Value>()
        .unwrap_err();
    assert!(error.to_string().contains("recursion limit"), "{error}");
}

#[test]
fn a_body_nested_127_deep_is_read() {
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let value = RawJson::parse(deep).unwrap().decode::<serde_json::Value>();
    assert!(value.is_ok());
}

fn with_headers(headers: Headers) -> (Result<(), EncodeError>, Result<Message, MessageError>) {
    let json = serde_json::json!({"id": 1, "method": "m", "body": null, "headers": headers});
    let decoded = Message::decode(&Bytes::from(json.to_string()));
    let request = Request {
        headers,
        ..Request::new(1, "m", RawJson::NULL)
    };
    (
        request.encode(DEFAULT_MAX_FRAME_SIZE, &mut Vec::new()),
        decoded,
    )
}

#[test]
fn the_number_of_headers_is_bounded_in_both_directions() {
    let headers = |n: usize| (0..n).map(|i| (i.to_string(), String::new())).collect();
    let (written, read) = with_headers(headers(MAX_HEADERS));
    assert!(written.is_ok() && read.is_ok());
    let (written, read) = with_headers(headers(MAX_HEADERS + 1));
    assert!(matches!(
        written.unwrap_err(),
        EncodeError::Headers(MessageError::TooManyHeaders { count: 129 })
    ));
    assert!(matches!(
        read.unwrap_err(),
        MessageError::TooManyHeaders { count: 129 }
    ));
}

#[test]
fn the_size_of_headers_is_bounded_in_both_directions() {
    let headers = |n: usize| Headers::from([("k".to_owned(), "v".repeat(n - 1))]);
    let (written, read) = with_headers(headers(MAX_HEADER_BYTES));
    assert!(written.is_ok() && read.is_ok());
    let (written, read) = with_headers(headers(MAX_HEADER_BYTES + 1));
    assert!(matches!(
        written.unwrap_err(),
        EncodeError::Headers(MessageError::HeadersTooLarge { size: 65_537 })
    ));
    assert!(matches!(
        read.unwrap_err(),
        MessageError::HeadersTooLarge { size: 65_537 }
    ));
}

#[test]
fn a_value_without_json_form_is_an_error_that_keeps_its_cause() {
    let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = encode_json(&odd, 1000, &mut Vec::new()).unwrap_err();
    let EncodeError::Json(source) = error else {
        panic!("{error}");
    };
    assert!(source.to_string().contains("key must be a string"));
}

#[test]
fn a_value_larger_than_the_room_leaves_nothing_behind() {
    let mut out = vec![1, 2];
    encode_json("xx", 4, &mut out).unwrap();
    let error = encode_json("xxx", 4, &mut out).unwrap_err();
    assert!(matches!(error, EncodeError::TooLarge { max: 4 }), "{error}");
    assert_eq!(out, b"\x01\x02\"xx\"");
}
