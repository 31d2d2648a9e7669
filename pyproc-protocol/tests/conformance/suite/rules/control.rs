use serde_json::json;

use super::{each_breaks, each_echoes, rule};
use crate::suite::{
    Rule, hello,
    peer::Peer,
    subject::Subject,
    verdict::{Outcome, not_applicable},
    wire::{cancellation, frame, request},
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "1-C1",
        "A body with a type is wrapped; its other keys are ignored.",
        wrapped,
    ),
    rule(
        "1-C2",
        "A wrapped message of an unknown type is skipped, whatever is in it.",
        unknown_type,
    ),
    rule(
        "1-C3",
        "Wrapped requests are answered unwrapped; a response breaks the frame.",
        unwrapped_answer,
    ),
    rule(
        "1-C4",
        "A request that is cancelled before it starts does not run, and is answered.",
        cancelled,
    ),
    rule(
        "1-C5",
        "A cancellation that names no request is skipped; one that is none breaks the frame.",
        cancels_nothing,
    ),
    rule(
        "1-C7",
        "A closed connection cancels; a half-closed one gets its answers.",
        half_closed,
    ),
];

fn wrapped(subject: &Subject) -> Outcome {
    each_echoes(
        subject,
        &[
            r#"{"type":"request","payload":{"id":1,"method":"echo","body":5}}"#,
            r#"{"id":"x","method":7,"payload":{"id":1,"method":"echo","body":5},"type":"request","new":null}"#,
        ],
    )?;
    let broken = [
        r#"{"type":7,"payload":{"id":1,"method":"echo","body":5}}"#,
        r#"{"type":false,"id":1,"method":"echo","body":5}"#,
        r#"{"type":{},"id":1,"method":"echo","body":5}"#,
    ];
    each_breaks(subject, broken.map(frame))
}

fn unknown_type(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    for message in [
        r#"{"type":"greeting","payload":{"id":1,"method":"echo"}}"#,
        r#"{"type":"greeting"}"#,
        r#"{"type":"","payload":7,"id":"x","method":null,"headers":[]}"#,
        r#"{"id":1,"method":"echo","body":5,"type":"Request"}"#,
    ] {
        peer.send(frame(message));
    }
    peer.goes_on()
}

fn unwrapped_answer(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    peer.send(frame(
        r#"{"type":"request","payload":{"id":1,"method":"fail","body":"no"}}"#,
    ));
    peer.expect(json!({"id": 1, "ok": false, "error": "no"}))?;
    drop(peer);
    let broken = [
        r#"{"type":"response","payload":{"id":1,"ok":true,"body":5}}"#,
        r#"{"type":"request","payload":5}"#,
        r#"{"type":"request"}"#,
    ];
    each_breaks(subject, broken.map(frame))
}

/// A connection on which cancellations are allowed.
fn cancelling(subject: &Subject) -> Outcome<Peer> {
    let (peer, answer) = hello::greeted(subject, r#"{"versions":[1],"features":["cancel"]}"#)?;
    match hello::has(&answer, "cancel") {
        true => Ok(peer),
        false => not_applicable("the worker has not the feature `cancel`"),
    }
}

fn cancelled(subject: &Subject) -> Outcome {
    let mut peer = cancelling(subject)?;
    let before = peer.call("count", "null")?.as_u64().unwrap_or_default();
    peer.send(
        [
            request(10, "sleep", "100"),
            request(11, "count", "null"),
            cancellation(11),
        ]
        .concat(),
    );
    let mut ran = None;
    for _ in 0..2 {
        let answer = peer.json("an answer to each of both")?;
        if answer["id"] == 11 {
            ran = Some(answer["ok"] == true);
        } else {
            peer.check(
                answer["id"] == 10 && answer["ok"] == true,
                "the other request's success",
            )?;
        }
    }
    let after = peer.call("count", "null")?.as_u64().unwrap_or_default();
    let expected = match ran {
        Some(true) => before + 2,
        Some(false) => before + 1,
        None => return peer.fail("an answer to the cancelled request", "none"),
    };
    peer.check(
        after == expected,
        &format!("a count of {expected}, as the answers say"),
    )
}

fn cancels_nothing(subject: &Subject) -> Outcome {
    let mut peer = cancelling(subject)?;
    peer.goes_on()?;
    for message in [
        r#"{"type":"cancellation","payload":{"id":2,"reason":"timeout"}}"#,
        r#"{"type":"cancellation","payload":{"id":4711,"reason":null}}"#,
        r#"{"type":"cancellation","payload":{"id":0,"reason":{"code":7}}}"#,
        r#"{"type":"cancellation","payload":{"new":true}}"#,
        r#"{"type":"cancellation","payload":null}"#,
        r#"{"type":"cancellation"}"#,
    ] {
        peer.send(frame(message));
    }
    peer.goes_on()?;
    drop(peer);
    for payload in ["7", "[1]", r#""x""#, r#"{"id":"x"}"#] {
        let mut peer = cancelling(subject)?;
        peer.send(frame(format!(
            r#"{{"type":"cancellation","payload":{payload}}}"#
        )));
        peer.broken()?;
    }
    Ok(())
}

fn half_closed(subject: &Subject) -> Outcome {
    let mut closed = subject.connect()?;
    closed.send(request(1, "sleep", "30"));
    drop(closed);
    let mut peer = subject.connect()?;
    peer.send([request(1, "sleep", "30"), request(2, "echo", "5")].concat());
    peer.finish_sending();
    for _ in 0..2 {
        let answer = peer.json("both answers")?;
        peer.check(answer["ok"] == true, "a success")?;
    }
    peer.end()?;
    // Also within a frame.
    for start in [&b"\0\0"[..], b"\0\0\0\x20{\"id\""] {
        let mut peer = subject.connect()?;
        peer.send([&request(1, "echo", "5"), start].concat());
        peer.finish_sending();
        peer.expect(json!({"id": 1, "ok": true, "body": 5}))?;
        peer.end()?;
    }
    Ok(())
}
