use serde_json::json;

use super::{each_breaks, rule};
use crate::suite::{
    Rule,
    subject::Subject,
    verdict::Outcome,
    wire::{self, Binary, MAXIMUM, frame, request},
};

pub(super) const RULES: &[Rule] = &[
    rule("1-F1", "A frame of length 0 is broken.", empty),
    rule(
        "1-F2",
        "10 MiB are taken; a longer frame is broken, and not read.",
        longest,
    ),
    rule(
        "1-F3",
        "The first byte names the version; others are broken.",
        first_byte,
    ),
    rule("1-F4", "Frames arrive in any fragmentation.", fragments),
];

fn empty(subject: &Subject) -> Outcome {
    each_breaks(subject, [frame("")])
}

fn longest(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let text = "x".repeat(MAXIMUM - request(1, "echo", r#""""#).len() + 4);
    peer.send(request(1, "echo", &format!(r#""{text}""#)));
    peer.expect(json!({"id": 1, "ok": true, "body": text}))?;
    drop(peer);
    let only_the_length = (MAXIMUM as u32 + 1).to_be_bytes().to_vec();
    each_breaks(subject, [only_the_length, vec![0xff; 4]])
}

fn first_byte(subject: &Subject) -> Outcome {
    let message = r#"{"id":1,"method":"echo","body":5}"#;
    let others = [" ", "\n", "\u{feff}", "[", "~"].map(|start| frame(format!("{start}{message}")));
    let version_2 = Binary::new(wire::PING, 1).frame();
    each_breaks(subject, others.into_iter().chain([version_2]))
}

fn fragments(subject: &Subject) -> Outcome {
    byte_by_byte(subject)?;
    many_at_once(subject)
}

fn byte_by_byte(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    for byte in request(1, "echo", r#""byte by byte""#) {
        peer.send([byte]);
    }
    peer.expect(json!({"id": 1, "ok": true, "body": "byte by byte"}))
}

fn many_at_once(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let frames: Vec<u8> = (1..=200)
        .flat_map(|id| request(id, "echo", &id.to_string()))
        .collect();
    let (start, end) = frames.split_at(frames.len() - 6);
    peer.send(start);
    peer.send(end);
    for id in 1..=200 {
        peer.expect(json!({"id": id, "ok": true, "body": id}))?;
    }
    Ok(())
}
