//! Requests and answers of version 2, and how a connection drains.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    binary::{each_breaks, greeted},
    not_tried, rule,
};
use crate::suite::{
    Rule, golden, hello,
    peer::Peer,
    subject::Subject,
    verdict::Outcome,
    wire::{self, Answer, Binary, Body, DEADLINE, HEADERS, MAX_ID, TRACE, WANTS_TIMES},
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "2-R1",
        "A request whose id is not from 1 to 2^53 - 1 is broken.",
        ids,
    ),
    rule(
        "2-R2",
        "A function is called by its index or its name; others are not found.",
        methods,
    ),
    rule(
        "2-R3",
        "A trace context is taken, also one of zeros.",
        trace,
    ),
    rule(
        "2-R4",
        "128 headers of 64 KiB are taken; more, and repeated ones, break the frame.",
        headers,
    ),
    rule(
        "2-R5",
        "A request whose deadline has passed is answered all the same.",
        deadline,
    ),
    rule(
        "2-D1",
        "A worker that is to end drains, and runs nothing that comes later.",
        worker_drains,
    ),
    rule(
        "2-D2",
        "After its drain it answers what came before, and closes.",
        drained,
    ),
    rule(
        "2-D4",
        "After a client's drain the worker answers, and leaves the closing to it.",
        client_drains,
    ),
    rule(
        "2-A1",
        "Times are sent only if they were asked for, and a function ran.",
        times,
    ),
    rule(
        "2-A2",
        "A result has the request's codec; bytes are raw.",
        result_codecs,
    ),
    rule(
        "2-A3",
        "An error always has its parts, without any feature.",
        errors,
    ),
    not_tried(
        "2-A4",
        "No answer of version 2 has the id 0.",
        "no request has it, so that none is due",
    ),
];

fn ids(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    peer.send(Binary::named(MAX_ID, "echo", "5").frame());
    peer.payload(MAX_ID, wire::JSON, b"5")?;
    drop(peer);
    let broken = [0, MAX_ID + 1, u64::MAX];
    each_breaks(
        subject,
        broken.map(|id| Binary::named(id, "echo", "5").frame()),
    )
}

fn methods(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    let Some(index) = peer.table.iter().position(|name| name == "echo") else {
        return peer.fail("`echo` among the functions of the hello", "others only");
    };
    let indexed = |id, index: usize| Binary::new(wire::REQUEST, id).u16(index as u16);
    peer.send(indexed(2, index).bytes("5").frame());
    peer.payload(2, wire::JSON, b"5")?;
    let outside = peer.table.len();
    for (id, request) in golden::requests("v2")? {
        peer.send(request);
        peer.answer(id)?;
    }
    let unknown = [
        (indexed(3, outside).bytes("5"), format!("#{outside}")),
        (indexed(4, 65_535).bytes("no JSON"), "#65535".into()),
        (Binary::named(5, "nope", "5"), "nope".into()),
        (Binary::named(6, "größe", "").codec(9), "größe".into()),
    ];
    for (request, name) in unknown {
        peer.send(request.frame());
        let fault = peer.fault(request.id, "pyproc_worker.MethodNotFound")?;
        let message = format!("Method '{name}' not found");
        peer.check(fault.message == message, &message)?;
    }
    peer.goes_on()
}

fn trace(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    for (id, context) in [(2, [0x11; 25]), (3, [0; 25]), (4, [0xff; 25])] {
        let request = Binary::named(id, "echo", context).flags(TRACE);
        peer.send(request.bytes("5").frame());
        peer.payload(id, wire::JSON, b"5")?;
    }
    Ok(())
}

fn headers(subject: &Subject) -> Outcome {
    let with = |headers: &[(&str, String)]| {
        let request = Binary::named(2, "echo", (headers.len() as u16).to_be_bytes());
        let add = |request: Binary, (name, value): &(&str, String)| {
            request.text16(name).u16(value.len() as u16).bytes(value)
        };
        let request = headers.iter().fold(request.flags(HEADERS), add);
        request.bytes("5").frame()
    };
    let names: Vec<_> = (0..129).map(|i| format!("h{i}")).collect();
    let many = |count| {
        names
            .iter()
            .take(count)
            .map(|name| (name.as_str(), String::new()))
            .collect::<Vec<_>>()
    };
    let large = |size: usize| ["a", "b"].map(|name| (name, "v".repeat(size / 2 - 1)));
    for frame in [with(&[]), with(&many(128)), with(&large(65_536))] {
        let mut peer = greeted(subject)?;
        peer.send(frame);
        peer.payload(2, wire::JSON, b"5")?;
    }
    let twice = [("a", "1".into()), ("a", "1".into())];
    each_breaks(
        subject,
        [with(&many(129)), with(&large(65_538)), with(&twice)],
    )
}

fn deadline(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    for (id, nanoseconds) in [(2, 0_u64), (3, 1), (4, u64::MAX)] {
        let request = Binary::named(id, "echo", nanoseconds.to_be_bytes()).flags(DEADLINE);
        peer.send(request.bytes("5").frame());
        peer.answer(id)?;
    }
    peer.goes_on()
}

/// What came, in any order, of a worker that got SIGTERM while it slept, and a request behind its drain.
struct Drained {
    peer: Peer,
    drains: usize,
    answered: Vec<u64>,
    ran_late: bool,
}

fn drain(subject: &Subject) -> Outcome<Drained> {
    let process = subject.start()?;
    let mut peer = process.connect()?;
    hello::say(&mut peer, r#"{"versions":[1,2]}"#)?;
    let requests = [
        Binary::named(2, "echo", "5"),
        Binary::named(3, "sleep", "300"),
    ];
    peer.send(requests.map(|it| it.frame()).concat());
    peer.payload(2, wire::JSON, b"5")?;
    process.terminate()?;
    peer.note("SIGTERM");
    let (mut drains, mut answered, mut ran_late) = (0, Vec::new(), false);
    while let Some(body) = peer.receive("a drain, an answer to request 3, and the end")? {
        match body {
            Body::Binary(frame) if frame.kind == wire::DRAIN => {
                drains += 1;
                peer.send(Binary::named(4, "count", "null").frame());
            }
            Body::Binary(frame) => match Answer::read(&frame) {
                Some(answer) if answer.id == 4 => ran_late = true,
                Some(answer) => answered.push(answer.id),
                None => return peer.fail("a drain or an answer", "something else"),
            },
            _ => return peer.fail("a drain or an answer of version 2", "something else"),
        }
    }
    Ok(Drained {
        peer,
        drains,
        answered,
        ran_late,
    })
}

fn worker_drains(subject: &Subject) -> Outcome {
    let came = drain(subject)?;
    let peer = &came.peer;
    peer.check(came.drains == 1, "one drain")?;
    peer.check(
        !came.ran_late,
        "no answer to request 4, which is behind the drain",
    )
}

fn drained(subject: &Subject) -> Outcome {
    let came = drain(subject)?;
    let peer = &came.peer;
    peer.check(came.answered == [3], "an answer to request 3, then the end")
}

fn client_drains(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    let frames = [
        Binary::named(2, "sleep", "30"),
        Binary::named(3, "echo", "5"),
        Binary::new(wire::DRAIN, 0),
    ];
    peer.send(frames.map(|it| it.frame()).concat());
    let answered = [peer.any_answer()?.id, peer.any_answer()?.id];
    peer.check(
        matches!(answered, [2, 3] | [3, 2]),
        "an answer to each of both",
    )?;
    peer.send(Binary::new(wire::PING, 4).frame());
    peer.pong(4)
}

fn times(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    let cases = [
        ("echo", "5", 0, false),
        ("fail", r#""no""#, 0, false),
        ("nope", "5", WANTS_TIMES, false),
        ("echo", "no JSON", WANTS_TIMES, false),
        ("echo", "5", WANTS_TIMES, true),
        ("fail", r#""no""#, WANTS_TIMES, true),
    ];
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos() as u64;
    for (method, payload, flags, allowed) in cases {
        let id = peer.id();
        peer.send(Binary::named(id, method, payload).flags(flags).frame());
        let answer = peer.answer(id)?;
        let plausible = |(start, duration): (u64, u64)| start.abs_diff(now) < DAY && duration < DAY;
        match answer.times {
            None => {}
            Some(times) if allowed => peer.check(plausible(times), "times of this day")?,
            Some(_) => peer.fail("no times", "times")?,
        }
    }
    Ok(())
}

const DAY: u64 = 86_400_000_000_000;

fn result_codecs(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    let cases: [(_, _, &[u8], _, &[u8]); 4] = [
        (
            "echo",
            wire::JSON,
            br#"{"a":[]}"#,
            wire::JSON,
            br#"{"a":[]}"#,
        ),
        ("bytes", wire::JSON, b"3", wire::RAW, b"\0\0\0"),
        ("echo", wire::RAW, b"", wire::RAW, b""),
        ("health", wire::RAW, b"x", wire::JSON, b"{"),
    ];
    for (method, codec, payload, result_codec, start) in cases {
        let id = peer.id();
        peer.send(Binary::named(id, method, payload).codec(codec).frame());
        let answer = peer.answer(id)?;
        let fits = answer
            .outcome
            .is_ok_and(|it| it.codec == result_codec && it.bytes.starts_with(start));
        peer.check(fits, &format!("a result of codec {result_codec}"))?;
    }
    messagepack(&mut peer)
}

/// Of a worker that reads MessagePack.
fn messagepack(peer: &mut Peer) -> Outcome {
    let id = peer.id();
    peer.send(
        Binary::named(id, "echo", b"\xc0")
            .codec(wire::MESSAGEPACK)
            .frame(),
    );
    match peer.answer(id)?.outcome {
        Ok(result) => peer.check(
            result.codec == wire::MESSAGEPACK && result.bytes == b"\xc0",
            "nil as MessagePack",
        ),
        Err(fault) => peer.check(
            fault.kind == "pyproc_worker.InvalidRequest",
            "pyproc_worker.InvalidRequest, if it reads no MessagePack",
        ),
    }
}

fn errors(subject: &Subject) -> Outcome {
    let mut peer = greeted(subject)?;
    peer.send(Binary::named(2, "fail", r#""größe""#).frame());
    let answer = peer.answer(2)?;
    peer.check(answer.flags & 0x0E == 0, "no flags but the times'")?;
    let fits = answer.outcome.is_err_and(|it| it.message == "größe");
    peer.check(fits, "an error with the message größe")?;
    peer.send(Binary::named(3, "text", "10485760").frame());
    peer.fault(3, "pyproc_worker.EncodeError").map(drop)
}
