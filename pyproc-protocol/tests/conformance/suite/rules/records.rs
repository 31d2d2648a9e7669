//! Log records, spans and metrics of the contract's function `report`.

use serde_json::Value;

use super::rule;
use crate::suite::{
    Rule, hello,
    peer::Peer,
    subject::Subject,
    verdict::{Outcome, not_applicable},
    wire::{self, Binary, TRACE},
};

pub(super) const RULES: &[Rule] = &[
    rule("3-L1", "A warning has the level 30.", level),
    rule("3-L2", "A stream is stdout or stderr.", stream),
    rule(
        "3-L3",
        "A log record names the span in which it was made.",
        log_ids,
    ),
    rule(
        "3-S1",
        "A span without a parent of its own is a child of the call's span.",
        parent,
    ),
    rule(
        "3-S2",
        "Flags, kinds and codes of spans are integers that the text knows.",
        span_numbers,
    ),
    rule("3-S3", "A span does not end before it starts.", span_times),
    rule(
        "3-M1",
        "Names of metrics and labels are as the text has them.",
        names,
    ),
    rule(
        "3-M3",
        "Values are totals; the first report on a connection has all.",
        totals,
    ),
];

/// The trace context of each report: trace id, span id, flags.
const CONTEXT: [u8; 25] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26,
    0x27, 0x28, 1,
];
/// Counts the calls of `report`.
pub(super) const COUNTER: &str = "conformance_reports_total";
const TRACE_ID: &str = "0102030405060708090a0b0c0d0e0f10";
const SPAN_ID: &str = "2122232425262728";

/// A connection that takes telemetry.
pub(super) struct Telemetry {
    pub(super) peer: Peer,
    /// Those in force.
    pub(super) features: Vec<String>,
}

pub(super) fn open(subject: &Subject) -> Outcome<Telemetry> {
    open_with(subject, &["logs", "spans", "metrics"])
}

pub(super) fn open_with(subject: &Subject, features: &[&str]) -> Outcome<Telemetry> {
    Telemetry::greet(subject.connect()?, features)
}

/// Calls `report` within a trace.
pub(super) fn report(telemetry: &mut Telemetry, text: &str) -> Outcome {
    let id = telemetry.peer.id();
    let request = Binary::named(id, "report", CONTEXT).flags(TRACE);
    telemetry
        .peer
        .send(request.bytes(Value::from(text).to_string()).frame());
    telemetry.peer.payload(id, wire::JSON, b"null")
}

impl Telemetry {
    pub(super) fn greet(mut peer: Peer, features: &[&str]) -> Outcome<Self> {
        let features = Value::from(features);
        let hello = format!(r#"{{"versions":[1,2],"features":{features}}}"#);
        let hello::Reply::Accepted(answer) = hello::say(&mut peer, &hello)? else {
            return peer.fail("an answer to the hello", "an error");
        };
        let features = answer["features"].as_array().into_iter().flatten();
        let features = features
            .filter_map(|it| it.as_str().map(String::from))
            .collect();
        Ok(Self { peer, features })
    }

    pub(super) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|it| it == feature)
    }

    /// All records that have come so far.
    pub(super) fn records(&self) -> Outcome<Vec<Value>> {
        let lines = self.peer.records.iter().filter(|line| !line.is_empty());
        lines
            .map(|line| match serde_json::from_str::<Value>(line) {
                Ok(record) if record.is_object() => Ok(record),
                _ => self.peer.fail("lines of one JSON object each", line),
            })
            .collect()
    }

    /// The last value of a counter without labels, once a report has it.
    pub(super) fn metric(&mut self, name: &str) -> Outcome<f64> {
        loop {
            match self.value_of(name)? {
                Some(value) => return Ok(value),
                None => self.peer.receive_records(&format!("metrics with {name}"))?,
            }
        }
    }

    pub(super) fn value_of(&self, name: &str) -> Outcome<Option<f64>> {
        let records = self.records()?;
        let mut metrics = records
            .iter()
            .filter_map(|it| it["metrics"].as_array())
            .flatten();
        let value = metrics.rfind(|it| it["name"] == name);
        Ok(value.and_then(|it| it["series"][0]["value"].as_f64()))
    }

    /// When its reports of metrics say that counting began.
    fn starts(&self) -> Outcome<Vec<Value>> {
        let mut records = self.records()?;
        records.retain(|it| it["type"] == "metrics");
        Ok(records.iter_mut().map(|it| it["start"].take()).collect())
    }

    /// The records of a kind that a report made.
    fn made(&mut self, feature: &str, kind: &str) -> Outcome<Vec<Value>> {
        if !self.has(feature) {
            return not_applicable(&format!("the worker has not the feature `{feature}`"));
        }
        report(self, "made")?;
        let mut records = self.records()?;
        records
            .retain(|it| it["type"] == kind && (it["message"] == "made" || it["name"] == "made"));
        self.peer.check(
            !records.is_empty(),
            &format!("a record of type {kind} before the answer"),
        )?;
        Ok(records)
    }
}

fn level(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    for log in telemetry.made("logs", "log")? {
        telemetry
            .peer
            .check(log["level"] == 30, &format!("level 30: {log}"))?;
    }
    Ok(())
}

fn stream(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    for log in telemetry.made("logs", "log")? {
        let fits = log
            .get("stream")
            .is_none_or(|it| it == "stdout" || it == "stderr");
        telemetry
            .peer
            .check(fits, &format!("a stream that is one: {log}"))?;
    }
    Ok(())
}

fn log_ids(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    let logs = telemetry.made("logs", "log")?;
    let spans: Vec<_> = telemetry
        .records()?
        .into_iter()
        .filter(|it| it["type"] == "span")
        .collect();
    for log in logs {
        let span = &log["span_id"];
        let known = span == SPAN_ID || spans.iter().any(|it| &it["span_id"] == span);
        let fits = log["trace_id"] == TRACE_ID && known && log["trace_flags"] == "01";
        telemetry
            .peer
            .check(fits, &format!("ids of the call's trace: {log}"))?;
    }
    Ok(())
}

fn parent(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    for span in telemetry.made("spans", "span")? {
        let fits = span["trace_id"] == TRACE_ID && span["parent_span_id"] == SPAN_ID;
        let of_the_call = span["span_id"] == SPAN_ID;
        telemetry.peer.check(
            fits && !of_the_call,
            &format!("a child of {SPAN_ID}: {span}"),
        )?;
    }
    Ok(())
}

fn span_numbers(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    for span in telemetry.made("spans", "span")? {
        let at_most =
            |value: &Value, most| value.is_null() || value.as_u64().is_some_and(|it| it <= most);
        let fits = at_most(&span["trace_flags"], 255)
            && at_most(&span["kind"], 4)
            && at_most(&span["status"]["code"], 2);
        telemetry
            .peer
            .check(fits, &format!("integers that are known: {span}"))?;
    }
    Ok(())
}

fn span_times(subject: &Subject) -> Outcome {
    let mut telemetry = open(subject)?;
    for span in telemetry.made("spans", "span")? {
        let fits = span["start"].as_u64() <= span["end"].as_u64();
        telemetry.peer.check(
            fits,
            &format!("an end that is not before the start: {span}"),
        )?;
    }
    Ok(())
}

/// A connection that takes metrics.
fn measured(peer: Peer) -> Outcome<Telemetry> {
    let telemetry = Telemetry::greet(peer, &["metrics"])?;
    match telemetry.has("metrics") {
        true => Ok(telemetry),
        false => not_applicable("the worker has not the feature `metrics`"),
    }
}

/// Calls `report`, and waits until the counter says that it was the `nth` call.
fn nth_report(telemetry: &mut Telemetry, nth: f64) -> Outcome {
    report(telemetry, "measured")?;
    let expected = format!("{COUNTER} with the value {nth}");
    while telemetry.value_of(COUNTER)?.is_none_or(|it| it < nth) {
        telemetry.peer.receive_records(&expected)?;
    }
    let fits = telemetry.value_of(COUNTER)? == Some(nth);
    telemetry.peer.check(fits, &expected)
}

fn names(subject: &Subject) -> Outcome {
    let mut telemetry = measured(subject.connect()?)?;
    report(&mut telemetry, "measured")?;
    telemetry.metric(COUNTER)?;
    let records = telemetry.records()?;
    for metric in records
        .iter()
        .filter_map(|it| it["metrics"].as_array())
        .flatten()
    {
        let name = metric["name"].as_str().unwrap_or_default();
        let label_names = |series: &Value| {
            let labels = series["labels"].as_object();
            labels
                .map(|it| it.keys().cloned().collect::<Vec<_>>())
                .unwrap_or_default()
        };
        let all: Vec<_> = metric["series"]
            .as_array()
            .into_iter()
            .flatten()
            .map(label_names)
            .collect();
        let fits = (metric["kind"] != "counter" || name.ends_with("_total"))
            && all.windows(2).all(|pair| pair[0] == pair[1])
            && !all.iter().flatten().any(|label| reserved(metric, label));
        telemetry
            .peer
            .check(fits, &format!("names as the text has them: {metric}"))?;
    }
    Ok(())
}

fn reserved(metric: &Value, label: &str) -> bool {
    let apart = metric["across"].as_str().is_none_or(|it| it == "each");
    match metric["kind"].as_str() {
        Some("histogram") => label == "le",
        Some("gauge") => label == "worker_id" && apart,
        _ => false,
    }
}

/// In a process of its own, whose counter begins at zero.
fn totals(subject: &Subject) -> Outcome {
    let process = subject.start()?;
    let mut first = measured(process.connect()?)?;
    nth_report(&mut first, 1.0)?;
    nth_report(&mut first, 2.0)?;
    let mut starts = first.starts()?;
    drop(first);
    let mut second = measured(process.connect()?)?;
    nth_report(&mut second, 3.0)?;
    starts.extend(second.starts()?);
    starts.dedup();
    second
        .peer
        .check(starts.len() == 1, "one start of all reports")
}
