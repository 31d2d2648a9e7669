//! The functions that CONFORMANCE.md asks of a worker: without one of them, rules would fail that say nothing of it.

use super::{hello, level::Level, subject::Subject, verdict::Outcome, wire};

/// From which level on, the name, and an argument that does no harm.
const FUNCTIONS: [(Level, &str, &str); 7] = [
    (Level::Calls, "echo", "null"),
    (Level::Calls, "fail", r#""no""#),
    (Level::Calls, "sleep", "0"),
    (Level::Calls, "count", "null"),
    (Level::Calls, "text", "1"),
    (Level::Version2, "bytes", "1"),
    (Level::Telemetry, "report", r#""a report""#),
];

/// Says which functions are missing.
pub(super) fn check(subject: &Subject, level: Level) -> Result<(), String> {
    let due = FUNCTIONS.iter().filter(|(from, ..)| *from <= level);
    let missing: Vec<_> = due
        .filter(|(_, name, body)| is_missing(subject, name, body).unwrap_or(false))
        .map(|(_, name, _)| format!("`{name}`"))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the worker does not expose {}, see pyproc-protocol/CONFORMANCE.md",
            missing.join(", ")
        )),
    }
}

/// The table of the hello says so or, where the worker has none, a call.
fn is_missing(subject: &Subject, name: &str, body: &str) -> Outcome<bool> {
    let mut peer = subject.connect()?;
    hello::say(&mut peer, r#"{"versions":[1]}"#)?;
    if !peer.table.is_empty() {
        return Ok(peer.table.iter().all(|it| it != name));
    }
    let id = peer.id();
    peer.send(wire::request(id, name, body));
    let answer = peer.json("an answer")?;
    Ok(answer["error"] == format!("Method '{name}' not found"))
}
