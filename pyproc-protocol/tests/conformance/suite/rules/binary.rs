//! Frames and kinds of version 2.

use serde_json::json;

use super::rule;
use crate::suite::{
    Rule, golden, hello,
    peer::Peer,
    subject::Subject,
    verdict::{Outcome, not_applicable},
    wire::{self, Binary, HEADERS, MAXIMUM, NAMED, TRACE, frame, request},
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "2-F1",
        "Each request is answered in the version that it came in.",
        either_version,
    ),
    rule(
        "2-F2",
        "A body that ends too early, goes on too long or is no UTF-8 is broken.",
        cut,
    ),
    rule(
        "2-F3",
        "An unknown kind below 0x10 is broken; others are skipped.",
        kinds,
    ),
    rule(
        "2-F4",
        "An unknown flag of the low four is broken; others are ignored.",
        flags,
    ),
    rule(
        "2-F5",
        "A kind that clients never send is broken.",
        direction,
    ),
    rule(
        "2-F6",
        "A frame longer than the maximum is broken.",
        longest,
    ),
    rule(
        "2-F7",
        "A payload that cannot be read fails that request only.",
        codecs,
    ),
    rule("2-K1", "A ping is answered with a pong of its id.", pings),
    rule("2-K2", "A cancel means what a cancellation does.", cancels),
    rule("2-K3", "The id of a drain is not looked at.", drain_id),
];

/// A connection that has agreed on version 2.
pub(super) fn greeted(subject: &Subject) -> Outcome<Peer> {
    Ok(hello::greeted(subject, r#"{"versions":[1,2]}"#)?.0)
}

/// Each frame, on a connection of its own that speaks version 2, must be taken for a broken one.
pub(super) fn each_breaks(subject: &Subject, frames: impl IntoIterator<Item = Vec<u8>>) -> Outcome {
    for frame in frames {
        let mut peer = greeted(subject)?;
        peer.send(frame);
        peer.broken()?;
    }
    Ok(())
}

fn either_version(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    for round in 0..3 {
        let (first, second) = (peer.id(), peer.id());
        peer.send(request(first, "echo", "5"));
        peer.expect(json!({"id": first, "ok": true, "body": 5}))?;
        peer.send(Binary::named(second, "echo", round.to_string()).frame());
        peer.payload(second, wire::JSON, round.to_string().as_bytes())?;
    }
    peer.send(frame("{"));
    peer.broken()
}

fn cut(subject: &Subject) -> Outcome {
    let named = |length: u16| Binary::new(wire::REQUEST, 1).flags(NAMED).u16(length);
    each_breaks(
        subject,
        [
            frame([wire::PING]),
            frame([wire::PING, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            frame([0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            Binary::new(wire::REQUEST, 1).bytes([0]).frame(),
            named(5).bytes("echo").frame(),
            named(4).flags(TRACE).bytes("echo").bytes([1; 24]).frame(),
            named(4)
                .flags(HEADERS)
                .bytes("echo")
                .u16(1)
                .text16("name")
                .u16(2)
                .bytes("v")
                .frame(),
            named(4).bytes(b"ech\xff").frame(),
            named(4)
                .flags(HEADERS)
                .bytes("echo")
                .u16(1)
                .u16(1)
                .bytes(b"\xff")
                .text16("v")
                .frame(),
            Binary::new(wire::CANCEL, 1).bytes(b"\xff").frame(),
            Binary::new(wire::PING, 1).bytes([0]).frame(),
            Binary::new(wire::DRAIN, 0).bytes([0]).frame(),
        ],
    )?;
    each_breaks(subject, golden::broken("v2")?)
}

fn kinds(subject: &Subject) -> Outcome {
    let unknown = [0x00, 0x05, 0x06, 0x07].into_iter().chain(0x0B..=0x0F);
    each_breaks(subject, unknown.map(|kind| Binary::new(kind, 1).frame()))?;
    let mut peer = greeted(subject)?;
    for kind in 0x11..=0x1F {
        peer.send(Binary::new(kind, 1).bytes("whatever").frame());
    }
    peer.goes_on()
}

fn flags(subject: &Subject) -> Outcome {
    let ping = Binary::new(wire::PING, 1);
    let cancel = Binary::new(wire::CANCEL, 1);
    let drain = Binary::new(wire::DRAIN, 0);
    let broken = [
        ping.clone().flags(1),
        cancel.clone().flags(2),
        drain.flags(8),
    ];
    each_breaks(subject, broken.map(|it| it.frame()))?;
    let mut peer = greeted(subject)?;
    peer.send(Binary::new(0x1F, 1).flags(0x0F).frame());
    peer.send(cancel.flags(0xF0).frame());
    peer.send(ping.flags(0xF0).frame());
    peer.pong(1)?;
    peer.send(Binary::named(9, "echo", "5").flags(0xE0).frame());
    peer.payload(9, wire::JSON, b"5")
}

fn direction(subject: &Subject) -> Outcome {
    let kinds = [wire::RESPONSE, wire::PONG];
    let error = Binary::new(wire::ERROR, 1).bytes([0; 6]);
    let frames = kinds.map(|kind| Binary::new(kind, 1).frame());
    each_breaks(subject, frames.into_iter().chain([error.frame()]))
}

fn longest(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    let request = |id, payload: &[u8]| Binary::named(id, "echo", payload).codec(wire::RAW);
    let largest = vec![b'x'; MAXIMUM + 4 - request(2, b"").frame().len()];
    peer.send(request(2, &largest).frame());
    peer.payload(2, wire::RAW, &largest)?;
    drop(peer);
    let length = (MAXIMUM as u32 + 1).to_be_bytes();
    each_breaks(subject, [[&length[..], &[wire::REQUEST]].concat()])
}

fn codecs(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    for (codec, payload) in [
        (9, &b"5"[..]),
        (255, b""),
        (wire::JSON, b""),
        (wire::JSON, b"{"),
        (wire::JSON, b"5 5"),
        (wire::JSON, b"\"\xff\""),
    ] {
        let id = peer.id();
        peer.send(Binary::named(id, "count", payload).codec(codec).frame());
        peer.fault(id, "pyproc_worker.InvalidRequest")?;
    }
    let id = peer.id();
    peer.send(
        Binary::named(id, "echo", b"\0\xff")
            .codec(wire::RAW)
            .frame(),
    );
    peer.payload(id, wire::RAW, b"\0\xff")
}

fn pings(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    for id in [0, 1, u64::MAX, 1] {
        peer.send(Binary::new(wire::PING, id).frame());
        peer.pong(id)?;
    }
    Ok(())
}

fn cancels(subject: &Subject) -> Outcome {
    let (mut peer, answer) =
        hello::greeted(subject, r#"{"versions":[1,2],"features":["cancel"]}"#)?;
    if !hello::has(&answer, "cancel") {
        return not_applicable("the worker has not the feature `cancel`");
    }
    for id in [0, 4711, u64::MAX] {
        peer.send(Binary::new(wire::CANCEL, id).bytes("größe").frame());
    }
    let before = peer.call("count", "null")?.as_u64().unwrap_or_default();
    let cancelled = [
        Binary::named(10, "sleep", "100"),
        Binary::named(11, "count", "null"),
        Binary::new(wire::CANCEL, 11),
    ];
    peer.send(cancelled.map(|it| it.frame()).concat());
    let mut ran = 0;
    for _ in 0..2 {
        let answer = peer.any_answer()?;
        peer.check(matches!(answer.id, 10 | 11), "an answer to each of both")?;
        match answer.outcome {
            Ok(_) if answer.id == 11 => ran = 1,
            Ok(_) => {}
            Err(fault) => {
                let fits = answer.id == 11 && fault.kind == "pyproc_worker.Cancelled";
                peer.check(
                    fits,
                    "no error but pyproc_worker.Cancelled of the cancelled request",
                )?;
            }
        }
    }
    let after = peer.call("count", "null")?.as_u64().unwrap_or_default();
    let expected = before + 1 + ran;
    peer.check(
        after == expected,
        &format!("a count of {expected}, as the answers say"),
    )
}

fn drain_id(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    peer.send(Binary::new(wire::DRAIN, 7).frame());
    peer.send(Binary::new(wire::PING, 8).frame());
    peer.pong(8)
}
