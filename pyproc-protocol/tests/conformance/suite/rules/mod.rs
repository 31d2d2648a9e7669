//! The scripts, a file for each chapter or two of the specification.

mod binary;
mod binary_calls;
mod broken;
mod control;
mod errors;
mod frames;
mod hello;
mod messages;
mod process;
mod records;
mod requests;
mod telemetry;
mod values;

use super::{Level, Rule, Script, subject::Subject, verdict::Outcome};

/// Every rule that binds workers, in the order of the text.
pub(crate) fn all() -> Vec<Rule> {
    [
        frames::RULES,
        messages::RULES,
        requests::RULES,
        control::RULES,
        hello::RULES,
        errors::RULES,
        broken::RULES,
        process::RULES,
        values::RULES,
        binary::RULES,
        binary_calls::RULES,
        telemetry::RULES,
        records::RULES,
    ]
    .concat()
}

const fn rule(id: &'static str, text: &'static str, script: Script) -> Rule {
    Rule {
        id,
        level: level(id),
        text,
        script: Ok(script),
    }
}

/// A rule that binds workers, and of which a client cannot see whether they keep it.
const fn not_tried(id: &'static str, text: &'static str, reason: &'static str) -> Rule {
    Rule {
        id,
        level: level(id),
        text,
        script: Err(reason),
    }
}

/// The first character of a rule's number.
const fn level(id: &str) -> Level {
    match id.as_bytes()[0] {
        b'1' => Level::Calls,
        b'2' => Level::Version2,
        _ => Level::Telemetry,
    }
}

/// Each frame, on a connection of its own, must be taken for a broken one.
fn each_breaks(subject: &Subject, frames: impl IntoIterator<Item = Vec<u8>>) -> Outcome {
    for frame in frames {
        let mut peer = subject.connect()?;
        peer.send(frame);
        peer.broken()?;
    }
    Ok(())
}

/// Each message, on a connection of its own, must be answered like `echo` with id 1 and body 5.
fn each_echoes(subject: &Subject, messages: &[&str]) -> Outcome {
    for message in messages {
        let mut peer = subject.connect()?;
        peer.send(super::wire::frame(message));
        peer.expect(serde_json::json!({"id": 1, "ok": true, "body": 5}))?;
    }
    Ok(())
}
