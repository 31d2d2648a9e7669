//! How much of the specification a worker implements.

use std::fmt;

use super::{subject::Subject, verdict::Outcome, wire};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Calls = 1,
    Version2 = 2,
    Telemetry = 3,
}

impl Level {
    pub(crate) const ALL: [Self; 3] = [Self::Calls, Self::Version2, Self::Telemetry];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Calls => "calls",
            Self::Version2 => "version 2",
            Self::Telemetry => "telemetry",
        };
        write!(f, "{} ({name})", *self as u8)
    }
}

/// What the worker claims in its answer to a hello that asks for all.
pub(crate) fn claimed(subject: &Subject) -> Outcome<Level> {
    let mut peer = subject.connect()?;
    let id = peer.id();
    peer.send(wire::request(
        id,
        "pyproc.hello",
        r#"{"versions":[1,2],"features":["logs","spans","metrics"]}"#,
    ));
    let answer = peer.json("an answer to the hello, or an error")?;
    let features = answer["body"]["features"].as_array().map_or(0, Vec::len);
    Ok(match answer["body"]["version"].as_u64() {
        Some(2) if features > 0 => Level::Telemetry,
        Some(2) => Level::Version2,
        _ => Level::Calls,
    })
}
