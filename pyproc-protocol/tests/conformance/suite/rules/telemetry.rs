//! Records: what must hold for all of them, and when they come.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{
    not_tried,
    records::{COUNTER, Telemetry, open, open_with, report},
    rule,
};
use crate::suite::{
    Rule,
    hello::{self, Reply},
    schema,
    subject::Subject,
    verdict::{Outcome, Stop, not_applicable},
    wire::{Binary, MAXIMUM},
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "3-T1",
        "Each line is a record as records.schema.json has it.",
        lines,
    ),
    rule(
        "3-T2",
        "Only records of features that are in force are sent.",
        features,
    ),
    rule(
        "3-T4",
        "Records of a call leave before its answer, the last ones before the end.",
        in_time,
    ),
    rule(
        "3-T5",
        "No frame of records is longer than the maximum.",
        longest,
    ),
    rule(
        "3-T6",
        "A worker does not wait for a client that does not read.",
        no_wait,
    ),
    rule(
        "3-T7",
        "What a record does not say is left out, and never null.",
        no_null,
    ),
    rule("3-T8", "Integers are written in digits.", digits),
    rule(
        "3-T9",
        "Times are nanoseconds since 1970; ids are not all zero.",
        times,
    ),
    rule("3-X1", "What was dropped is counted.", lost),
    not_tried(
        "3-T3",
        "Unknown types and members of records are ignored.",
        "binds receivers",
    ),
    not_tried(
        "3-T10",
        "Attributes are texts, booleans, numbers and arrays of one of them.",
        "binds receivers; what workers may write is 3-T1",
    ),
    not_tried(
        "3-M2",
        "A metric that cannot be read is lost alone.",
        "binds receivers",
    ),
    not_tried(
        "3-M4",
        "Counting that began anew is added to what there was.",
        "binds receivers",
    ),
];

fn lines(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    report(&mut telemetry, "lines")?;
    if telemetry.has("metrics") {
        telemetry.metric(COUNTER)?;
    }
    for record in telemetry.records()? {
        if let Err(reason) = schema::check(&record) {
            let expected = format!("a record that fits the schema: {record}");
            return telemetry.peer.fail(&expected, reason);
        }
    }
    Ok(())
}

fn features(subject: &Subject) -> Outcome {
    for (only, kind) in [("logs", "log"), ("spans", "span"), ("metrics", "metrics")] {
        one_feature(subject, only, kind)?;
    }
    no_feature(subject)?;
    without_version_2(subject)
}

fn one_feature(subject: &Subject, only: &str, kind: &str) -> Outcome {
    let mut telemetry = open_with(subject, &[only])?;
    report(&mut telemetry, "one feature")?;
    if telemetry.has("metrics") {
        telemetry.metric(COUNTER)?;
    }
    let is_in_force = telemetry.has(only);
    for record in telemetry.records()? {
        let fits = is_in_force && (record["type"] == kind || record["type"] == "lost");
        let expected = format!("records of {only} only, if in force: {record}");
        telemetry.peer.check(fits, &expected)?;
    }
    Ok(())
}

fn no_feature(subject: &Subject) -> Outcome {
    let mut telemetry = open_with(subject, &[])?;
    report(&mut telemetry, "no feature")?;
    let silent = telemetry.records()?.is_empty();
    telemetry.peer.check(silent, "no records without a feature")
}

fn without_version_2(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    let reply = hello::say(
        &mut peer,
        r#"{"versions":[1],"features":["logs","spans","metrics"]}"#,
    )?;
    let Reply::Accepted(answer) = reply else {
        return peer.fail("an answer to the hello", "an error");
    };
    let none = ["logs", "spans", "metrics"]
        .iter()
        .all(|it| !hello::has(&answer, it));
    peer.check(none, "no telemetry in force with version 1")?;
    peer.call("report", r#""version 1""#)?;
    peer.check(peer.records.is_empty(), "no telemetry frame")
}

fn in_time(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    report(&mut telemetry, "in time")?;
    let came = telemetry.records()?;
    for (feature, kind, text) in [("logs", "log", "message"), ("spans", "span", "name")] {
        let there = came
            .iter()
            .any(|it| it["type"] == kind && it[text] == "in time");
        let fits = there || !telemetry.has(feature);
        telemetry
            .peer
            .check(fits, &format!("a {kind} before the answer"))?;
    }
    drop(telemetry);
    last_metrics(subject)
}

/// Counts that changed just before the end still arrive.
fn last_metrics(subject: &Subject) -> Outcome {
    let process = match subject.start() {
        Err(Stop::NotApplicable(_)) => return Ok(()),
        started => started?,
    };
    let mut telemetry = Telemetry::greet(process.connect()?, &["metrics"])?;
    if !telemetry.has("metrics") {
        return Ok(());
    }
    report(&mut telemetry, "last")?;
    process.terminate()?;
    telemetry.peer.note("SIGTERM");
    while telemetry.peer.receive("the rest, and the end")?.is_some() {}
    let value = telemetry.value_of(COUNTER)?;
    telemetry
        .peer
        .check(value == Some(1.0), "a count of 1 before the end")
}

fn longest(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    let text = "x".repeat(MAXIMUM - 100);
    report(&mut telemetry, &text)?;
    report(&mut telemetry, "after a large one")?;
    telemetry.peer.goes_on()
}

/// Many reports, whose records are not read while the requests are sent.
fn flood(subject: &Subject) -> Outcome<(Telemetry, u64)> {
    const REPORTS: u64 = 150;
    let mut telemetry = open_with(subject, &["logs"])?;
    if !telemetry.has("logs") {
        return not_applicable("the worker has not the feature `logs`");
    }
    let payload = Value::from("x".repeat(100_000)).to_string();
    for id in 100..100 + REPORTS {
        telemetry
            .peer
            .send(Binary::named(id, "report", &payload).frame());
    }
    for _ in 0..REPORTS {
        let answer = telemetry.peer.any_answer()?;
        telemetry.peer.check(answer.outcome.is_ok(), "a success")?;
    }
    Ok((telemetry, REPORTS))
}

fn no_wait(subject: &Subject) -> Outcome {
    flood(subject).map(drop)
}

fn lost(subject: &Subject) -> Outcome {
    let (mut telemetry, reports) = flood(subject)?;
    // There is room again, and another record to tell it with.
    report(&mut telemetry, "after the flood")?;
    let sent_or_lost = |telemetry: &Telemetry| -> Outcome<u64> {
        let records = telemetry.records()?;
        let logs = records.iter().filter(|it| it["type"] == "log").count() as u64;
        let lost = records.iter().filter(|it| it["type"] == "lost");
        Ok(logs + lost.filter_map(|it| it["logs"].as_u64()).sum::<u64>())
    };
    let expected = format!("{} log records, sent or counted as lost", reports + 1);
    while sent_or_lost(&telemetry)? < reports + 1 {
        telemetry.peer.receive_records(&expected)?;
    }
    let count = sent_or_lost(&telemetry)?;
    telemetry.peer.check(
        count == reports + 1,
        &format!("{expected}, and not {count}"),
    )
}

fn no_null(subject: &Subject) -> Outcome {
    each_record(subject, |record| match null_in(record) {
        Some(member) => Err(format!("`{member}` is null")),
        None => Ok(()),
    })
}

/// The name of a member that is null. Those of `fields` are the user's.
fn null_in(value: &Value) -> Option<&str> {
    if let Value::Array(items) = value {
        return items.iter().find_map(null_in);
    }
    let members = value.as_object().into_iter().flatten();
    let mut members = members.filter(|(name, _)| *name != "fields");
    members.find_map(|(name, value)| match value {
        Value::Null => Some(name.as_str()),
        value => null_in(value),
    })
}

const INTEGERS: [&str; 10] = [
    "time",
    "level",
    "line",
    "start",
    "end",
    "kind",
    "trace_flags",
    "code",
    "logs",
    "spans",
];

fn digits(subject: &Subject) -> Outcome {
    each_record(subject, |record| {
        let members = record.as_object().into_iter().flatten();
        let mut numbers =
            members.filter(|(name, value)| INTEGERS.contains(&name.as_str()) && value.is_number());
        match numbers.find(|(_, value)| !value.is_u64()) {
            Some((name, value)) => Err(format!("`{name}` is {value}")),
            None => Ok(()),
        }
    })
}

fn times(subject: &Subject) -> Outcome {
    const DAY: f64 = 86_400e9;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos() as f64;
    each_record(subject, |record| {
        // The process may have started long before, or its clock have been set.
        for (name, allowed) in [("time", DAY), ("start", 1e18), ("end", DAY)] {
            let time = record[name].as_f64();
            if time.is_some_and(|it| (it - now).abs() > allowed) {
                return Err(format!("`{name}` is {}, and now is {now}", record[name]));
            }
        }
        for name in ["trace_id", "span_id"] {
            let id = record[name].as_str();
            if id.is_some_and(|it| it.bytes().all(|digit| digit == b'0')) {
                return Err(format!("`{name}` is all zero"));
            }
        }
        Ok(())
    })
}

/// Checks the records of a call, and those of metrics.
fn each_record(subject: &Subject, check: impl Fn(&Value) -> Result<(), String>) -> Outcome {
    let mut telemetry = open(subject)?;
    report(&mut telemetry, "each record")?;
    if telemetry.has("metrics") {
        telemetry.metric(COUNTER)?;
    }
    for record in telemetry.records()? {
        check(&record).map_err(|came| Stop::failed(record.to_string(), came))?;
    }
    Ok(())
}
