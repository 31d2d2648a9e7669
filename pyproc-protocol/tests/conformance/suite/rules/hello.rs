use serde_json::json;

use super::rule;
use crate::suite::{
    Level, Rule,
    hello::{self, METHOD, Reply, greeted},
    level,
    subject::Subject,
    verdict::{Outcome, not_applicable},
    wire::{self, Binary, frame, request},
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "1-H1",
        "A worker that knows no hello says so, as of any unknown method.",
        known,
    ),
    rule(
        "1-H2",
        "A second hello, and one without an id, break the frame.",
        once,
    ),
    rule(
        "1-H3",
        "The version is the highest that both speak; without one it is an error.",
        versions,
    ),
    rule(
        "1-H4",
        "A hello with a member of another type is an error; unknown features are ignored.",
        members,
    ),
    rule(
        "1-H5",
        "After a refused hello the worker serves version 1 without features.",
        refused,
    ),
    rule(
        "1-H6",
        "The table holds the functions in order of their names, for one connection.",
        table,
    ),
    rule(
        "1-H7",
        "Calls of concurrent functions are answered as soon as they are done.",
        concurrent,
    ),
    rule(
        "1-H8",
        "A worker ends when its owner's connection closes.",
        owner,
    ),
];

const PLAIN: &str = r#"{"versions":[1]}"#;

fn known(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    peer.send(request(1, METHOD, PLAIN));
    let answer = peer.json("an answer to the hello")?;
    peer.check(answer["id"] == 1, "the id of the hello")?;
    let known = answer["ok"] == true && answer["body"]["version"] == 1;
    let unknown = answer["error"] == hello::UNKNOWN;
    peer.check(
        known || unknown,
        "version 1, or the error of an unknown method",
    )?;
    peer.goes_on()
}

fn once(subject: &Subject) -> Outcome {
    let (mut peer, _) = greeted(subject, PLAIN)?;
    peer.send(request(2, METHOD, PLAIN));
    peer.broken()?;
    for id in ["", r#""id":0,"#] {
        let mut peer = subject.connect()?;
        peer.send(frame(format!(
            r#"{{{id}"method":"{METHOD}","body":{PLAIN}}}"#
        )));
        peer.broken()?;
    }
    Ok(())
}

fn versions(subject: &Subject) -> Outcome {
    greeted(subject, PLAIN)?;
    let version_2 = match level::claimed(subject)? {
        Level::Calls => None,
        _ => Some(2),
    };
    let highest = version_2.unwrap_or(1);
    let cases = [
        ("[1]", Some(1)),
        ("[1,2]", Some(highest)),
        ("[2,1]", Some(highest)),
        ("[1,2,99,0,-1]", Some(highest)),
        ("[2]", version_2),
        ("[99]", None),
        ("[]", None),
    ];
    for (versions, chosen) in cases {
        let mut peer = subject.connect()?;
        let fits = match hello::say(&mut peer, &format!(r#"{{"versions":{versions}}}"#))? {
            Reply::Accepted(answer) => chosen.is_some_and(|it| answer["version"] == it),
            _ => chosen.is_none(),
        };
        let expected = chosen.map_or("an error".into(), |it| format!("version {it}"));
        peer.check(fits, &expected)?;
        peer.goes_on()?;
    }
    Ok(())
}

fn members(subject: &Subject) -> Outcome {
    let accepted = r#"{"versions":[1],"features":["new",""],"agent":null,"owner":null,"new":{}}"#;
    let (peer, answer) = greeted(subject, accepted)?;
    let features = answer["features"].as_array().map_or(0, Vec::len);
    peer.check(features == 0, "no features")?;
    drop(peer);
    for body in [
        "null",
        "[]",
        r#""hello""#,
        "{}",
        r#"{"versions":null}"#,
        r#"{"versions":1}"#,
        r#"{"versions":["1"]}"#,
        r#"{"versions":[1],"features":"logs"}"#,
        r#"{"versions":[1],"features":[7]}"#,
        r#"{"versions":[1],"agent":7}"#,
        r#"{"versions":[1],"owner":"yes"}"#,
    ] {
        let mut peer = subject.connect()?;
        let id = peer.id();
        peer.send(request(id, METHOD, body));
        peer.error(id)?;
        peer.goes_on()?;
    }
    Ok(())
}

fn refused(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let answer = hello::say(
        &mut peer,
        r#"{"versions":[99],"features":["error-details"]}"#,
    )?;
    peer.check(!matches!(answer, Reply::Accepted(_)), "an error")?;
    peer.send(request(2, "fail", r#""no""#));
    peer.expect(json!({"id": 2, "ok": false, "error": "no"}))?;
    peer.send(Binary::new(wire::PING, 1).frame());
    peer.broken()
}

fn table(subject: &Subject) -> Outcome {
    let (peer, answer) = greeted(
        subject,
        r#"{"versions":[1,2],"features":["error-details"]}"#,
    )?;
    let mut sorted = peer.table.clone();
    sorted.sort_unstable();
    sorted.dedup();
    peer.check(sorted == peer.table, "each name once, in order")?;
    let all = ["echo", "fail", "sleep", "count", "text", "health"];
    let listed = all.iter().all(|name| sorted.iter().any(|it| it == name));
    peer.check(listed, &format!("{all:?} among the functions"))?;
    let described = answer["functions"].as_array().into_iter().flatten();
    let mut described = described.map(|it| (&it["doc"], &it["concurrent"]));
    let typed = described.all(|(doc, concurrent)| {
        (doc.is_null() || doc.is_string()) && (concurrent.is_null() || concurrent.is_boolean())
    });
    peer.check(typed, "members of the types that the text says")?;
    drop(peer);
    let mut peer = subject.connect()?;
    peer.send(request(1, "fail", r#""no""#));
    peer.expect(json!({"id": 1, "ok": false, "error": "no"}))
}

fn concurrent(subject: &Subject) -> Outcome {
    let (mut peer, answer) = greeted(subject, PLAIN)?;
    let is_concurrent =
        |name: &&str| hello::function(&answer, name).is_some_and(|it| it["concurrent"] == true);
    let Some(waits) = ["nap", "sleep"].into_iter().find(is_concurrent) else {
        return not_applicable("neither `nap` nor `sleep` is marked as concurrent");
    };
    peer.send([request(2, waits, "400"), request(3, waits, "1")].concat());
    peer.expect(json!({"id": 3, "ok": true, "body": null}))?;
    peer.expect(json!({"id": 2, "ok": true, "body": null}))
}

fn owner(subject: &Subject) -> Outcome {
    greeted(subject, PLAIN)?;
    let mut process = subject.start()?;
    let mut peer = process.connect()?;
    hello::say(&mut peer, r#"{"versions":[1],"owner":true}"#)?;
    peer.goes_on()?;
    drop(peer);
    process.ended().map(drop)
}
