use serde_json::json;

use super::{each_breaks, rule};
use crate::suite::{
    Rule, golden,
    subject::Subject,
    verdict::Outcome,
    wire::{frame, request},
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "1-B1",
        "A body that is not JSON of one object is broken.",
        no_json,
    ),
    rule(
        "1-B2",
        "A broken frame ends its connection, after the answers to what came before.",
        answered_first,
    ),
    rule(
        "1-B3",
        "A value beyond the worker's reader fails that request only.",
        unreadable_value,
    ),
];

fn no_json(subject: &Subject) -> Outcome {
    let broken: [&[u8]; 10] = [
        b"{",
        br#"{"id":1,"method":"echo","body":5"#,
        br#"{"id":1 "method":"echo","body":5}"#,
        br#"{"id":1,"method":"echo","body":5}}"#,
        br#"{"id":1,"method":"echo","body":5}{}"#,
        br#"{"id":1,"method":"echo","body":NaN}"#,
        br#"{"id":1,"method":"echo","body":01}"#,
        br#"{"id":1,"method":"echo","body":[1,]}"#,
        br#"{"id":1,"method":"echo","body":'5'}"#,
        b"{\"id\":1,\"method\":\"echo\",\"body\":\"\xff\"}",
    ];
    each_breaks(subject, broken.map(frame))?;
    each_breaks(subject, golden::broken("")?)
}

fn answered_first(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let before = peer.call("count", "null")?.as_u64().unwrap_or_default();
    peer.send(
        [
            request(10, "sleep", "50"),
            request(11, "echo", "5"),
            frame("{"),
            request(12, "count", "null"),
        ]
        .concat(),
    );
    for _ in 0..2 {
        let answer = peer.json("an answer to each request before the broken frame")?;
        let id = answer["id"].as_u64();
        peer.check(
            matches!(id, Some(10 | 11)) && answer["ok"] == true,
            "a success",
        )?;
    }
    peer.broken()?;
    drop(peer);
    let mut peer = subject.connect()?;
    peer.send(request(1, "count", "null"));
    peer.expect(json!({"id": 1, "ok": true, "body": before + 1}))
}

fn unreadable_value(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let id = peer.id();
    peer.send(request(id, "echo", &nested(127)));
    let deepest = format!(r#"{{"id":{id},"ok":true,"body":{}}}"#, nested(127));
    peer.text(&deepest)?;
    for value in [
        nested(100_000),
        r#""\ud800""#.into(),
        "1e999999".into(),
        "-1e400".into(),
    ] {
        for id_comes_last in [false, true] {
            let id = peer.id();
            peer.send(frame(match id_comes_last {
                false => format!(r#"{{"id":{id},"method":"echo","body":{value}}}"#),
                true => format!(r#"{{"method":"echo","body":{value},"id":{id}}}"#),
            }));
            peer.unchanged_or_error(id, &value)?;
        }
    }
    peer.goes_on()
}
