use serde_json::json;

use super::rule;
use crate::suite::{
    Rule, hello,
    subject::Subject,
    verdict::{Outcome, not_applicable},
    wire::request,
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "1-E1",
        "An unknown method is answered with exactly: Method 'NAME' not found.",
        not_found,
    ),
    rule("1-E2", "With error-details an error says its type.", types),
    rule(
        "1-E3",
        "A function that fails is answered with its message, and the worker goes on.",
        failing,
    ),
    rule(
        "1-E4",
        "No function's name begins with `pyproc.`.",
        reserved,
    ),
    rule(
        "1-E5",
        "`health` takes any body, and says `healthy` and the process id.",
        health,
    ),
];

fn not_found(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    for (id, name) in (1..).zip(["nope", "größe", "", "it's", "toString", "__class__"]) {
        peer.send(request(id, name, "null"));
        let error = format!("Method '{name}' not found");
        peer.expect(json!({"id": id, "ok": false, "error": error}))?;
    }
    Ok(())
}

fn types(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    if !hello::details(&mut peer)? {
        return not_applicable("the worker has not the feature `error-details`");
    }
    for (method, kind) in [
        ("nope", Some("pyproc_worker.MethodNotFound")),
        ("fail", None),
    ] {
        let id = peer.id();
        peer.send(request(id, method, r#""no""#));
        let error = peer.error(id)?;
        let said = error["headers"]["pyproc-error-type"].as_str();
        let fits = kind.map_or(said.is_some_and(|it| !it.is_empty()), |kind| {
            said == Some(kind)
        });
        peer.check(
            fits,
            &format!("pyproc-error-type: {}", kind.unwrap_or("a name")),
        )?;
    }
    Ok(())
}

fn failing(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let id = peer.id();
    peer.send(request(id, "fail", r#""größe \"1\"\n""#));
    peer.expect(json!({"id": id, "ok": false, "error": "größe \"1\"\n"}))?;
    peer.goes_on()
}

fn reserved(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    hello::say(&mut peer, r#"{"versions":[1]}"#)?;
    let exposed = peer.table.iter().any(|name| name.starts_with("pyproc."));
    peer.check(!exposed, "no such name among the functions")?;
    let id = peer.id();
    peer.send(request(id, "pyproc.nope", "null"));
    let error = "Method 'pyproc.nope' not found";
    peer.expect(json!({"id": id, "ok": false, "error": error}))
}

fn health(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    for body in ["null", "{}", "[1]", r#""x""#] {
        let answer = peer.call("health", body)?;
        let healthy = answer["status"] == "healthy" && answer["pid"].is_u64();
        peer.check(healthy, r#"{"status":"healthy","pid":...}"#)?;
    }
    Ok(())
}
