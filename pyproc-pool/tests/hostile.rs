//! What a worker that means harm can do with its output and its records. The pool serves on, within its bounds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use events::{Events, InSpan, OUTPUT, POOL, PYTHON, listen};
use pyproc_pool::{
    Error, Pool, PoolBuilder, WorkerOutput,
    observe::{
        CallObserver, CallStart, Observer, RecordOrigin, RequestMetadata, Wants, WorkerRecord,
    },
};
use serde_json::{Value, json};
use support::{builder, cores, echoes, ours, until};
use tracing::Level;

/// What a printed line or a text of a record is cut to.
const LONGEST: usize = 64 * 1024;

fn hostile() -> PoolBuilder {
    builder("hostile.py").workers(1).output(WorkerOutput::Log)
}

/// Events about losses, added up.
fn lost(events: &Events, message: &str) -> u64 {
    let logged = events.of(POOL).into_iter();
    let lost = logged.filter(|it| it.message() == message);
    lost.map(|it| it.fields["count"].parse::<u64>().unwrap())
        .sum()
}

/// The bytes of all texts of events.
fn bytes(events: &Events, target: &str) -> usize {
    let texts = |fields: &BTreeMap<_, String>| fields.values().map(String::len).sum::<usize>();
    events.of(target).iter().map(|it| texts(&it.fields)).sum()
}

#[tokio::test]
async fn a_flood_of_long_lines_is_bounded_in_bytes() {
    const LINES: usize = 500;
    let (events, _guard) = listen(Level::INFO);
    let pool = hostile().log_rate(100).start().await.unwrap();
    let begin = Instant::now();
    let line = "x".repeat(60_000) + "\n";
    let flood = json!({"text": line, "times": LINES});
    let _: Value = pool.call("say", &flood).await.unwrap();
    let said = || events.of(OUTPUT).len() + lost(&events, "lines dropped") as usize;
    until("all is logged or counted", || said() == LINES).await;
    let seconds = begin.elapsed().as_secs() as usize + 2;
    assert!(bytes(&events, OUTPUT) <= seconds * 100 * 1024 + LONGEST);
    echoes(&pool).await;
}

#[tokio::test]
async fn a_line_without_an_end_is_cut_and_does_no_harm() {
    let (events, _guard) = listen(Level::INFO);
    let pool = hostile().start().await.unwrap();
    let flood = json!({"text": "x".repeat(1024 * 1024), "times": 32});
    let _: Value = pool.call("say", &flood).await.unwrap();
    let end = json!({"text": "\nnext\n"});
    let _: Value = pool.call("say", &end).await.unwrap();
    until("the next is logged", || events.has("next")).await;
    assert_eq!(events.of(OUTPUT).len(), 2);
    let cut = events.of(OUTPUT)[0].message().to_owned();
    assert!(cut.ends_with("(cut)") && cut.len() < LONGEST + 20);
    echoes(&pool).await;
}

fn record(message: &str) -> String {
    json!({"type": "log", "time": 5, "level": 20, "message": message}).to_string()
}

async fn report(pool: &Pool, lines: &[&str], times: usize) {
    let body = json!({"lines": lines, "times": times});
    let _: Value = pool.call("report", &body).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_records_is_bounded_and_counted_in_records() {
    const RECORDS: u64 = 100_000;
    let (events, _guard) = listen(Level::INFO);
    let pool = hostile().log_rate(100).start().await.unwrap();
    // In frames of which some find no room.
    report(&pool, &[&record(&"x".repeat(100))], RECORDS as usize).await;
    let counted = || events.of(PYTHON).len() as u64 + lost(&events, "records lost");
    until("all are logged or counted", || counted() == RECORDS).await;
    echoes(&pool).await;
    assert_eq!(counted(), RECORDS);
}

#[tokio::test]
async fn records_of_large_texts_are_bounded_in_bytes() {
    let (events, _guard) = listen(Level::INFO);
    let pool = hostile().log_rate(100).start().await.unwrap();
    let large = "é".repeat(256 * 1024);
    let line = json!({
        "type": "log", "time": 5, "level": 40, "message": large, "exception": large, "logger": large,
        "thread": large, "function": large, "fields": {"large": large, "left": 3},
    });
    report(&pool, &[&line.to_string()], 1).await;
    until("it is logged", || !events.of(PYTHON).is_empty()).await;
    let logged = events.of(PYTHON).remove(0);
    for name in ["message", "exception", "logger", "thread", "function_name"] {
        let text = &logged.fields[name];
        assert!(
            text.ends_with("(cut)") && text.len() < LONGEST + 20,
            "{name}"
        );
    }
    assert_eq!(logged.fields["fields"], r#"{"left":3}"#);
    // It was much, and so what follows waits.
    report(&pool, &[&record("next")], 1).await;
    until("it is counted", || lost(&events, "records lost") == 1).await;
    echoes(&pool).await;
}

#[tokio::test]
async fn records_that_make_no_sense_are_counted_with_the_first_cause() {
    let (events, _guard) = listen(Level::INFO);
    let pool = hostile().start().await.unwrap();
    let good = record("good");
    let long = format!(
        r#"{{"type":"span","status":{{"code":"{}"}}}}"#,
        "x".repeat(100_000)
    );
    let lines = [
        r#"{"type":"log","time":5}"#,
        "nonsense",
        &good,
        &long,
        r#"{"type":"of a later release"}"#,
        "5",
    ];
    report(&pool, &lines, 1).await;
    until("the good one is logged", || events.has("good")).await;
    until("the others are counted", || {
        lost(&events, "records lost") == 4
    })
    .await;
    let logged = events.of(POOL).into_iter();
    let first = logged
        .into_iter()
        .find(|it| it.message() == "records lost")
        .unwrap();
    assert_eq!(first.fields["reason"], "unreadable");
    assert!(first.fields["error"].contains("missing field"), "{first:?}");
    assert!(first.fields["error"].len() < 1024);
    echoes(&pool).await;
}

/// Keeps the names of the metrics that are reported.
#[derive(Debug, Default)]
struct Names(Mutex<Vec<String>>);

impl Observer for Names {
    fn begin(
        &self,
        _: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        None
    }

    fn wants(&self) -> Wants {
        Wants {
            spans: false,
            metrics: true,
        }
    }

    fn record(&self, _: RecordOrigin, record: WorkerRecord) {
        if let WorkerRecord::Metrics(record) = record {
            let names = record.metrics.into_iter().map(|it| it.name);
            self.0.lock().unwrap().extend(names);
        }
    }
}

#[tokio::test]
async fn a_metric_of_an_unknown_kind_takes_no_other_with_it() {
    let (events, _guard) = listen(Level::INFO);
    let names = Arc::new(Names::default());
    let pool = hostile().observer(names.clone()).start().await.unwrap();
    let metric =
        |name: &str, kind: &str| json!({"name": name, "kind": kind, "series": [{"value": 1}]});
    let metrics = [
        metric("one", "counter"),
        metric("odd", "summary"),
        metric("two", "gauge"),
        json!({"name": "bad", "kind": "histogram", "bounds": [2, 1], "series": []}),
    ];
    let record = json!({"type": "metrics", "start": 5, "metrics": metrics});
    report(&pool, &[&record.to_string()], 1).await;
    until("the others are reported", || {
        names.0.lock().unwrap().len() == 2
    })
    .await;
    assert_eq!(*names.0.lock().unwrap(), ["one", "two"]);
    until("they are counted", || lost(&events, "records lost") == 2).await;
    let logged = events.of(POOL).into_iter();
    let mut logged = logged.filter(|it| it.message() == "records lost");
    let error = logged.next().unwrap().fields["error"].clone();
    assert!(
        error.contains("`odd`") && error.contains("summary"),
        "{error}"
    );
    echoes(&pool).await;
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[tokio::test]
async fn what_a_record_quotes_gives_it_no_other_place() {
    let (events, _guard) = listen(Level::INFO);
    let pool = hostile().start().await.unwrap();
    let printed = json!({
        "message": "m", "trace_id": OTHER, "span_id": "c".repeat(16), "trace_flags": "00", "worker_id": 7,
        "function_name": "other", "stream": "stderr", "request_id": "r-2",
    });
    let record = |more: Value| {
        let mut record = json!({"type": "log", "time": 5, "level": 20, "stream": "stdout"});
        let (record, more) = (record.as_object_mut().unwrap(), more.as_object().unwrap());
        record.extend(more.clone());
        json!(record).to_string()
    };
    let traced = record(json!({
        "message": printed.to_string(), "function": "f", "trace_id": TRACE, "span_id": "d".repeat(16),
        "trace_flags": "01", "baggage": {"request_id": "r-1"},
    }));
    let untraced = record(json!({"message": printed.to_string(), "function": "f"}));
    let elsewhere = record(json!({"message": printed.to_string()}));
    report(&pool, &[&traced, &untraced, &elsewhere], 1).await;
    until("all are logged", || events.of(OUTPUT).len() == 3).await;
    let logged = events.of(OUTPUT);
    for logged in &logged {
        assert_eq!(logged.fields["worker_id"], "0");
        assert_eq!(logged.fields["stream"], "stdout");
        assert_ne!(
            logged.fields.get("function_name").map(String::as_str),
            Some("other")
        );
    }
    let ids = |number: usize| {
        ["trace_id", "span_id", "trace_flags"].map(|it| logged[number].fields.get(it).cloned())
    };
    let some = |trace: &str, span: &str, flags: &str| {
        [trace.into(), span.repeat(16), flags.into()].map(Some)
    };
    assert_eq!(ids(0), some(TRACE, "d", "01"));
    assert_eq!(ids(1), [None, None, None]);
    assert_eq!(ids(2), some(OTHER, "c", "00"));
    let fields: Value = serde_json::from_str(&logged[0].fields["fields"]).unwrap();
    assert_eq!(
        (&fields["request_id"], &fields["request_id_2"]),
        (&json!("r-1"), &json!("r-2"))
    );
    assert_eq!(fields["trace_id"], OTHER);
    echoes(&pool).await;
}

#[tokio::test]
async fn what_a_function_of_ours_prints_or_logs_gives_it_no_other_place() {
    for core in cores() {
        let (events, _guard) = listen(Level::INFO);
        let builder = ours("telling.py", &core).output(WorkerOutput::Log);
        let pool = builder
            .observer(Arc::new(InSpan::default()))
            .start()
            .await
            .unwrap();
        let printed = json!({"event": "printed", "trace_id": OTHER, "span_id": "c".repeat(16), "request_id": "r-2"});
        let request = pool.request("say_of_another", &printed);
        let request = request.header("baggage", "request_id=r-1");
        let _: Value = request.call().await.unwrap();
        // The worker itself prints a line at its start, too.
        let logged = || {
            let mut logged = [events.of(OUTPUT), events.of(PYTHON)].concat();
            logged.retain(|it| it.fields.contains_key("function_name"));
            logged
        };
        until("all are logged", || logged().len() == 3).await;
        for logged in logged() {
            assert_eq!(
                logged.fields["trace_id"],
                "07".repeat(16),
                "{core}: {logged:?}"
            );
            assert_eq!(logged.fields["span_id"], "08".repeat(8));
            assert_eq!(logged.fields["function_name"], "say_of_another");
            let fields: Value = serde_json::from_str(&logged.fields["fields"]).unwrap();
            let ids = (&fields["request_id"], &fields["request_id_2"]);
            assert_eq!(ids, (&json!("r-1"), &json!("r-2")), "{core}: {logged:?}");
        }
    }
}

#[tokio::test]
async fn no_text_of_an_error_commands_a_terminal_or_turns_its_line() {
    const HARM: [char; 6] = ['\r', '\u{1b}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}'];
    let harm = String::from_iter(HARM);
    let (events, _guard) = listen(Level::INFO);
    let pool = hostile().start().await.unwrap();
    let raised = pool
        .call::<_, Value>("fail", &[&harm, &harm, &harm])
        .await
        .unwrap_err();
    let Error::Remote(exception) = &raised else {
        panic!("{raised:?}");
    };
    assert_eq!(exception.message, harm, "the value itself is what it was");
    let died = pool
        .call::<_, Value>("say_and_die", &harm)
        .await
        .unwrap_err();
    assert!(matches!(died, Error::WorkerDied(_)), "{died:?}");
    for error in [raised, died] {
        let texts = [error.to_string(), format!("{error:?}")];
        for text in texts {
            assert!(!text.contains(HARM), "{text:?}");
            assert!(
                text.contains(r"\u000d\u001b\u009b\u202e\u2066\u200f"),
                "{text}"
            );
        }
    }
    until("its death is logged", || events.has("worker died")).await;
    for logged in events.of(POOL) {
        let error = logged.fields.get("error").cloned().unwrap_or_default();
        assert!(!error.contains(HARM), "{logged:?}");
    }
}
