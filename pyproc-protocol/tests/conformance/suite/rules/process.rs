use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use serde_json::json;

use super::{not_tried, rule};
use crate::suite::{
    Rule,
    subject::Subject,
    verdict::{Outcome, Stop},
    wire::request,
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "1-P1",
        "A worker listens at PYPROC_SOCKET_PATH as soon as it can serve.",
        listens,
    ),
    rule(
        "1-P2",
        "A dead socket is replaced; a live one, and any other file, is left alone.",
        occupied,
    ),
    rule(
        "1-P3",
        "Connections are accepted at any time, and do no harm.",
        connections,
    ),
    not_tried(
        "1-P4",
        "Nothing of the protocol is on the standard streams; lines are flushed.",
        "what a worker prints is the user's",
    ),
    rule(
        "1-P6",
        "After SIGTERM a worker answers what has arrived, and exits with status 0.",
        terminated,
    ),
    not_tried(
        "1-P7",
        "The exit status has no meaning.",
        "the rule allows any",
    ),
    rule(
        "1-P8",
        "A worker that ends removes its socket file.",
        removes_socket,
    ),
];

fn listens(subject: &Subject) -> Outcome {
    let process = subject.start()?;
    process.connect()?.goes_on()
}

fn occupied(subject: &Subject) -> Outcome {
    let mut process = subject.start_at(|socket| UnixListener::bind(socket).map(drop))?;
    process.listens()?;
    process.connect()?.goes_on()?;
    let mode = fs::metadata(process.socket()).map_or(0, |it| it.permissions().mode());
    if mode & 0o077 != 0 {
        subject.remark("what should be so is not: other users may reach the socket file, whose mode is not 0600");
    }
    subject.remark("not tried: whether the mode is 0600 from the first moment on, and connections of other users are closed");

    let mut second = subject.start_beside(&process)?;
    second.ended()?;
    process.connect()?.goes_on()?;

    let mut process = subject.start_at(|path| fs::write(path, "mine"))?;
    process.ended()?;
    let kept = fs::read_to_string(process.socket()).is_ok_and(|it| it == "mine");
    holds(kept, "the file that is no socket is still there")
}

fn connections(subject: &Subject) -> Outcome {
    for _ in 0..20 {
        subject.connect()?;
        subject.connect()?.goes_on()?;
    }
    Ok(())
}

fn terminated(subject: &Subject) -> Outcome {
    let mut process = subject.start()?;
    let mut peer = process.connect()?;
    peer.send([request(1, "echo", "5"), request(2, "sleep", "300")].concat());
    peer.expect(json!({"id": 1, "ok": true, "body": 5}))?;
    process.terminate()?;
    peer.note("SIGTERM");
    peer.expect(json!({"id": 2, "ok": true, "body": null}))?;
    peer.end()?;
    let status = process.ended()?;
    match status.success() {
        true => Ok(()),
        false => Err(Stop::failed("exit status: 0", status.to_string())),
    }
}

fn removes_socket(subject: &Subject) -> Outcome {
    let mut process = subject.start()?;
    process.connect()?.goes_on()?;
    process.terminate()?;
    process.ended()?;
    let there = process.socket().exists();
    holds(!there, "the socket file is gone")
}

fn holds(condition: bool, expected: &str) -> Outcome {
    match condition {
        true => Ok(()),
        false => Err(Stop::failed(expected, "it is not so")),
    }
}
