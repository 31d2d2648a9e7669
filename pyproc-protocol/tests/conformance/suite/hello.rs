//! The beginning of a connection that wants more than plain calls.

use serde_json::Value;

use super::{
    peer::Peer,
    subject::Subject,
    verdict::{Outcome, not_applicable},
    wire,
};

pub(crate) const METHOD: &str = "pyproc.hello";
pub(crate) const UNKNOWN: &str = "Method 'pyproc.hello' not found";

/// What the worker makes of a hello.
pub(crate) enum Reply {
    /// The body of its answer.
    Accepted(Value),
    Refused,
    /// It knows no hello, and serves version 1 without features.
    Unknown,
}

pub(crate) fn say(peer: &mut Peer, body: &str) -> Outcome<Reply> {
    let id = peer.id();
    peer.send(wire::request(id, METHOD, body));
    let mut answer = peer.json("an answer to the hello, or an error")?;
    peer.check(answer["id"] == id, "the id of the hello")?;
    if answer["ok"] != true {
        return Ok(match answer["error"] == UNKNOWN {
            true => Reply::Unknown,
            false => Reply::Refused,
        });
    }
    let body = answer["body"].take();
    let names = body["functions"].as_array().into_iter().flatten();
    peer.table = names
        .map(|it| it["name"].as_str().unwrap_or_default().into())
        .collect();
    Ok(Reply::Accepted(body))
}

/// Asks for details of errors: whether they are in force.
pub(crate) fn details(peer: &mut Peer) -> Outcome<bool> {
    let answer = say(peer, r#"{"versions":[1],"features":["error-details"]}"#)?;
    Ok(matches!(answer, Reply::Accepted(it) if has(&it, "error-details")))
}

/// A connection after a hello that the worker must accept. `NotApplicable` for one that knows no hello.
pub(crate) fn greeted(subject: &Subject, body: &str) -> Outcome<(Peer, Value)> {
    let mut peer = subject.connect()?;
    match say(&mut peer, body)? {
        Reply::Accepted(answer) => Ok((peer, answer)),
        Reply::Refused => peer.fail("an answer to the hello that accepts it", "an error"),
        Reply::Unknown => not_applicable("the worker knows no hello"),
    }
}

/// Whether the worker says that it exposes a function.
pub(crate) fn exposes(subject: &Subject, name: &str) -> Outcome<bool> {
    let mut peer = subject.connect()?;
    say(&mut peer, r#"{"versions":[1]}"#)?;
    Ok(peer.table.iter().any(|it| it == name))
}

/// Whether the answer to a hello puts a feature in force.
pub(crate) fn has(answer: &Value, feature: &str) -> bool {
    let features = answer["features"].as_array();
    features.is_some_and(|it| it.iter().any(|name| name == feature))
}

/// What the answer says of a function.
pub(crate) fn function<'a>(answer: &'a Value, name: &str) -> Option<&'a Value> {
    answer["functions"]
        .as_array()?
        .iter()
        .find(|it| it["name"] == name)
}
