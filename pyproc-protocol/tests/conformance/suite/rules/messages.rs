use serde_json::json;

use super::{each_breaks, each_echoes, rule};
use crate::suite::{Rule, subject::Subject, verdict::Outcome, wire::frame};

pub(super) const RULES: &[Rule] = &[
    rule("1-M1", "White space is taken, and not sent.", white_space),
    rule(
        "1-M2",
        "Unknown keys are ignored, whatever their values are.",
        unknown_keys,
    ),
    rule(
        "1-M3",
        "Of duplicate keys the last one counts.",
        duplicate_keys,
    ),
    rule("1-M4", "A key that is null is absent.", null_keys),
    rule(
        "1-M5",
        "What a client sends is a request, also with keys of a response.",
        direction,
    ),
    rule(
        "1-M6",
        "A lone surrogate in a text of the message breaks the frame.",
        surrogates,
    ),
];

fn white_space(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    peer.send(frame(
        "{ \"id\" : 1 ,\n\t\"method\" : \"echo\" ,\r\n \"body\" : { \"a\" : [ 1 , 2 ] } } \n",
    ));
    // A body may be carried as it came (1-V1).
    peer.either(
        r#"{"id":1,"ok":true,"body":{"a":[1,2]}}"#,
        r#"{"id":1,"ok":true,"body":{ "a" : [ 1 , 2 ] }}"#,
    )
}

fn unknown_keys(subject: &Subject) -> Outcome {
    each_echoes(
        subject,
        &[
            r#"{"id":1,"method":"echo","body":5,"new":true}"#,
            r#"{"new":[{"id":2,"method":"fail"},null],"id":1,"method":"echo","body":5,"":{}}"#,
            r#"{"Id":2,"id":1,"payload":7,"method":"echo","body":5}"#,
        ],
    )
}

fn duplicate_keys(subject: &Subject) -> Outcome {
    each_echoes(
        subject,
        &[
            r#"{"id":2,"method":"fail","body":4,"id":1,"method":"echo","body":5}"#,
            r#"{"id":1,"method":"echo","headers":{"a":"1","a":"2"},"body":5,"headers":{"b":"1"}}"#,
        ],
    )
}

fn null_keys(subject: &Subject) -> Outcome {
    each_echoes(
        subject,
        &[r#"{"type":null,"id":1,"method":"echo","body":5,"headers":null,"new":null}"#],
    )?;
    let mut peer = subject.connect()?;
    peer.send(frame(r#"{"id":1,"method":"echo","body":null}"#));
    peer.expect(json!({"id": 1, "ok": true, "body": null}))?;
    peer.send(frame(r#"{"id":2,"method":"echo"}"#));
    peer.expect(json!({"id": 2, "ok": true, "body": null}))
}

fn direction(subject: &Subject) -> Outcome {
    each_echoes(
        subject,
        &[
            r#"{"id":1,"ok":true,"method":"echo","body":5}"#,
            r#"{"id":1,"method":"echo","body":5,"ok":false,"error":"no"}"#,
        ],
    )
}

fn surrogates(subject: &Subject) -> Outcome {
    let broken = [
        r#"{"id":1,"method":"\ud800","body":5}"#,
        r#"{"id":1,"method":"echo","body":5,"headers":{"a":"\udfff"}}"#,
        r#"{"id":1,"method":"echo","body":5,"headers":{"\udc00\ud800":"a"}}"#,
        r#"{"id":1,"method":"echo","body":5,"\ud800":null}"#,
    ];
    each_breaks(subject, broken.map(frame))
}
