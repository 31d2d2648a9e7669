use serde_json::json;

use super::{each_breaks, each_echoes, rule};
use crate::suite::{
    Rule, golden, hello,
    peer::Peer,
    subject::Subject,
    verdict::Outcome,
    wire::{MAX_ID, MAXIMUM, frame, request},
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "1-R2",
        "An id is an integer from 0 to 2^53 - 1, and is answered in digits.",
        ids,
    ),
    rule(
        "1-R3",
        "Requests with id 0, or without, are answered with 0, in order.",
        zero,
    ),
    rule(
        "1-R4",
        "A request without a method, which is a text, is broken.",
        method,
    ),
    rule(
        "1-R5",
        "128 headers of 64 KiB are taken; more breaks the frame.",
        headers,
    ),
    rule(
        "1-R6",
        "Keys are taken in any order, and sent in that of the text.",
        order,
    ),
    rule(
        "1-R7",
        "Headers that the worker does not know are ignored.",
        unknown_headers,
    ),
    rule(
        "1-A1",
        "Each request gets exactly one response.",
        one_response,
    ),
    rule("1-A2", "Each response has the id of its request.", matched),
    rule(
        "1-A4",
        "A success has a body, also null; a failure has a text.",
        shapes,
    ),
    rule(
        "1-A5",
        "A result too long for a frame is an error of that request.",
        too_long,
    ),
];

fn ids(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let written = MAX_ID.to_string();
    for (id, value) in [
        ("1", "1"),
        ("2.0", "2"),
        ("3e0", "3"),
        (written.as_str(), written.as_str()),
    ] {
        peer.send(frame(format!(r#"{{"id":{id},"method":"echo","body":5}}"#)));
        let expected = format!(r#"{{"id":{value},"ok":true,"body":5}}"#);
        peer.text(&expected)?;
    }
    for (id, request) in golden::requests("")? {
        peer.send(request);
        let answer = peer.json("an answer")?;
        peer.check(answer["id"] == id, &format!("an answer to request {id}"))?;
    }
    drop(peer);
    let broken = [
        "-1",
        "1.5",
        "9007199254740992",
        "1e400",
        r#""1""#,
        "true",
        "[1]",
    ];
    each_breaks(
        subject,
        broken.map(|id| frame(format!(r#"{{"id":{id},"method":"echo","body":5}}"#))),
    )
}

fn zero(subject: &Subject) -> Outcome {
    in_order(subject, "sleep")?;
    match hello::exposes(subject, "nap")? {
        true => in_order(subject, "nap"),
        false => Ok(()),
    }
}

/// Behind a function that takes a while, and may run beside others.
fn in_order(subject: &Subject, waits: &str) -> Outcome {
    let mut peer = subject.connect()?;
    let first = format!(r#"{{"id":0,"method":"{waits}","body":50}}"#);
    let frames = [
        &first,
        r#"{"method":"echo","body":"second"}"#,
        r#"{"id":7,"method":"echo","body":"seventh"}"#,
        r#"{"id":null,"method":"echo","body":"third"}"#,
    ];
    peer.send(frames.map(frame).concat());
    let mut in_order = [json!(null), json!("second"), json!("third")].into_iter();
    for _ in frames {
        let answer = peer.json("an answer")?;
        let body = match answer["id"].as_u64() {
            Some(0) => in_order.next(),
            _ => Some(json!("seventh")),
        };
        let body = body.unwrap_or_default();
        let fits = answer["ok"] == true && answer["body"] == body;
        peer.check(fits, &format!("a success with the body {body}"))?;
    }
    peer.check(
        in_order.len() == 0,
        "an answer with id 0 to each of the three requests",
    )
}

fn method(subject: &Subject) -> Outcome {
    let broken = [
        r#"{"id":1,"body":5}"#,
        r#"{"id":1,"method":null,"body":5}"#,
        r#"{"id":1,"method":7,"body":5}"#,
        "{}",
    ];
    each_breaks(subject, broken.map(frame))
}

fn headers(subject: &Subject) -> Outcome {
    let with = |headers: &[(String, String)]| {
        let pairs: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!(r#""{name}":"{value}""#))
            .collect();
        format!(
            r#"{{"id":1,"method":"echo","body":5,"headers":{{{}}}}}"#,
            pairs.join(",")
        )
    };
    let many = |count| {
        (0..count)
            .map(|i| (format!("h{i}"), String::new()))
            .collect::<Vec<_>>()
    };
    let large = |size: usize| vec![("name".to_string(), "v".repeat(size - 4))];
    each_echoes(subject, &[&with(&many(128)), &with(&large(65_536))])?;
    let broken = [
        with(&many(129)),
        with(&large(65_537)),
        r#"{"id":1,"method":"echo","body":5,"headers":{"a":1}}"#.into(),
        r#"{"id":1,"method":"echo","body":5,"headers":{"a":null}}"#.into(),
        r#"{"id":1,"method":"echo","body":5,"headers":["a"]}"#.into(),
    ];
    each_breaks(subject, broken.map(frame))
}

fn order(subject: &Subject) -> Outcome {
    each_echoes(
        subject,
        &[r#"{"headers":{},"body":5,"method":"echo","id":1}"#],
    )?;
    let mut peer = subject.connect()?;
    for (method, start) in [
        ("echo", r#"{"id":1,"ok":true,"body":"#),
        ("fail", r#"{"id":1,"ok":false,"error":"#),
    ] {
        peer.send(request(1, method, r#""it""#));
        let expected = format!(r#"{start}"it"}}"#);
        peer.text(&expected)?;
    }
    Ok(())
}

fn unknown_headers(subject: &Subject) -> Outcome {
    let traced = r#""traceparent":"00-000102030405060708090a0b0c0d0e0f-1011121314151617-01","tracestate":"a=1""#;
    each_echoes(
        subject,
        &[
            &format!(r#"{{"id":1,"method":"echo","body":5,"headers":{{{traced},"new":""}}}}"#),
            r#"{"id":1,"method":"echo","body":5,"headers":{"traceparent":"nonsense","":"größe"}}"#,
        ],
    )
}

fn one_response(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let methods = ["echo", "fail", "nope", "health"];
    let mut waiting: Vec<u64> = (1..=40).collect();
    let frames = waiting
        .iter()
        .map(|id| request(*id, methods[*id as usize % 4], r#""x""#));
    peer.send(frames.collect::<Vec<_>>().concat());
    while !waiting.is_empty() {
        let answer = peer.json("an answer")?;
        let found = waiting.iter().position(|id| answer["id"] == *id);
        match found {
            Some(place) => waiting.remove(place),
            None => return peer.fail("an answer to a request that has none yet", "another"),
        };
    }
    peer.goes_on()
}

fn matched(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let ids: Vec<u64> = (1..=20).map(|i| i * 7_919 % 101).collect();
    peer.send(request(1_000, "sleep", "20"));
    for id in &ids {
        peer.send(request(*id, "echo", &id.to_string()));
    }
    for _ in 0..=ids.len() {
        let answer = peer.json("an answer")?;
        let fits =
            answer["ok"] == true && (answer["id"] == answer["body"] || answer["id"] == 1_000);
        peer.check(fits, "a success whose body is its id")?;
    }
    Ok(())
}

fn shapes(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    peer.send(request(1, "echo", "null"));
    peer.expect(json!({"id": 1, "ok": true, "body": null}))?;
    peer.send(request(2, "fail", r#""no such model""#));
    peer.expect(json!({"id": 2, "ok": false, "error": "no such model"}))?;
    peer.send(request(3, "fail", r#""""#));
    peer.expect(json!({"id": 3, "ok": false, "error": ""}))
}

fn too_long(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let details = hello::details(&mut peer)?;
    let id = peer.id();
    peer.send(request(id, "text", &MAXIMUM.to_string()));
    let error = peer.error(id)?;
    if details {
        let kind = &error["headers"]["pyproc-error-type"];
        peer.check(
            kind == "pyproc_worker.EncodeError",
            "the type pyproc_worker.EncodeError",
        )?;
    }
    peer.goes_on()?;
    long_error(&mut peer)
}

/// With its type and perhaps its traceback the error would be longer than the request that made it.
fn long_error(peer: &mut Peer) -> Outcome {
    let id = peer.id();
    let text = "x".repeat(MAXIMUM - 60);
    peer.send(request(id, "fail", &format!(r#""{text}""#)));
    peer.error(id)?;
    peer.goes_on()
}
