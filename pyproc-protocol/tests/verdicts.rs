//! The conformance tool: it knows each rule of the text, and finds the faults of workers that have some.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

#[path = "conformance/suite/mod.rs"]
mod suite;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use suite::{Deviations, Level, Plan, Report, Target, Trouble};

const TEXT: [&str; 2] = [include_str!("../SPEC.md"), include_str!("../SPEC-V2.md")];

/// The numbers of rules that bind workers: `- **1-F3** ...`. Those of clients have a mark.
fn rules_of_the_text() -> BTreeSet<String> {
    let lines = TEXT.iter().flat_map(|text| text.lines());
    let rules = lines.filter_map(|line| line.strip_prefix("- **")?.split_once("**"));
    let of_workers = rules.filter(|(_, text)| !text.starts_with(" (client)"));
    of_workers.map(|(id, _)| id.into()).collect()
}

#[test]
fn each_rule_that_binds_workers_has_a_verdict() {
    let rules = suite::rules::all();
    let known: BTreeSet<String> = rules.iter().map(|rule| rule.id.into()).collect();
    assert_eq!(known.len(), rules.len(), "a rule occurs twice");
    let mut expected = rules_of_the_text();
    assert!(expected.len() > 80, "{expected:?}");
    // It binds clients, and says what a worker does with one that breaks it.
    expected.insert("1-H2".into());
    assert_eq!(known, expected);
}

#[test]
fn a_rule_that_is_none_is_no_success() {
    let plan = plan(&["1-F4", "1-F99", "client"]);
    assert_eq!(plan.unknown_rules(), ["1-F99", "client"]);
}

/// The schema is for authors of workers; the golden records are what all sides agree on.
#[test]
fn golden_records_fit_the_schema_and_others_do_not() {
    let manifest: Value =
        serde_json::from_str(include_str!("../testdata/v2/manifest.json")).unwrap();
    let frames = manifest["frames"].as_array().unwrap().iter();
    let records: Vec<_> = frames
        .filter_map(|it| it["message"]["records"].as_array())
        .flatten()
        .collect();
    assert!(records.len() > 5);
    for record in records {
        assert_eq!(suite::schema::check(record), Ok(()), "{record}");
    }
    for other in [
        r#"{"type":"log","time":1.5,"level":20,"message":""}"#,
        r#"{"type":"log","time":1,"level":20}"#,
        r#"{"type":"log","time":1,"level":20,"message":"","stream":null}"#,
        r#"{"type":"log","time":1,"level":20,"message":"","trace_id":"00000000000000000000000000000000"}"#,
        r#"{"type":"metrics","start":1,"metrics":[{"name":"a b","kind":"gauge","series":[]}]}"#,
        r#"{"type":"metrics","start":1,"metrics":[{"name":"a","kind":"gauge","series":[{}]}]}"#,
        r#"{"type":"metrics","start":1,"metrics":[{"name":"a","kind":"counter","series":[{"value":-1}]}]}"#,
        r#"{"type":"metrics","start":1,"metrics":[{"name":"a","kind":"gauge","series":[{"labels":{"worker_id":"1"},"value":1}]}]}"#,
        r#"{"type":"lost","logs":-1}"#,
    ] {
        let other: Value = serde_json::from_str(other).unwrap();
        assert!(suite::schema::check(&other).is_err(), "{other}");
    }
}

/// A fault of `faulty.js`, and the rules that it breaks.
const FAULTS: [(&str, &[&str]); 14] = [
    ("answers twice", &["1-A1"]),
    ("answers with another id", &["1-A2"]),
    ("takes lone surrogates", &["1-M6"]),
    ("ends with status 3", &["1-P6"]),
    ("runs what was cancelled", &["1-C4", "2-K2"]),
    ("drains without a word", &["2-D1"]),
    ("sends times unasked", &["2-A1"]),
    ("answers pings with 0", &["2-K1"]),
    ("reports unasked", &["3-T2"]),
    ("logs after the answer", &["3-T4"]),
    ("writes null", &["3-T1", "3-T7"]),
    ("writes times in seconds", &["3-T1", "3-T8", "3-T9"]),
    ("has levels of its own", &["3-L1"]),
    ("makes roots of spans", &["3-S1"]),
];

/// Those that only show by what does not come.
const OMISSIONS: [(&str, &[&str]); 5] = [
    ("stays connected", &["1-B2"]),
    ("skips what it does not know", &["2-F3"]),
    ("takes the place of a live worker", &["1-P2"]),
    ("drops without counting", &["3-X1"]),
    ("reports differences", &["3-M3"]),
];

/// A rule that each of the faulty workers keeps.
const KEPT: &str = "1-F1";

#[test]
fn faults_are_found_and_nothing_else() {
    if !has_node() {
        return;
    }
    for (fault, broken) in FAULTS {
        let (report, text) = run(&["faulty.js", fault], &plan(&[broken, &[KEPT]].concat()));
        assert_eq!(
            report.failed().collect::<Vec<_>>(),
            sorted(broken),
            "{fault}:\n{text}"
        );
        assert!(!report.conforms());
    }
}

#[test]
fn omissions_are_found() {
    if !has_node() {
        return;
    }
    for (fault, broken) in OMISSIONS {
        let impatient = Plan {
            patience: Some(Duration::from_secs(2)),
            ..plan(broken)
        };
        let (report, text) = run(&["faulty.js", fault], &impatient);
        assert_eq!(
            report.failed().collect::<Vec<_>>(),
            broken,
            "{fault}:\n{text}"
        );
    }
}

/// No script needs two connections at once.
#[test]
fn a_worker_that_serves_one_connection_after_the_other_conforms() {
    if !has_node() {
        return;
    }
    let worker = ["faulty.js", "serves one connection after the other"];
    let (report, text) = run(&worker, &Plan::default());
    assert_eq!(report.reached(), Some(Level::Telemetry), "{text}");
    assert!(report.conforms(), "{text}");
    let end = "level claimed: 3 (telemetry)\nlevel reached: 3 (telemetry)\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn a_level_is_reached_only_if_each_of_its_rules_holds() {
    if !has_node() {
        return;
    }
    let (report, text) = run(&["faulty.js", "fails always"], &Plan::default());
    assert!(!report.conforms());
    assert_eq!(report.reached(), None);
    let failed = report.failed().count();
    assert!(failed > 30, "{text}");
    let end = format!("level claimed: 1 (calls)\nlevel 1 not reached: {failed} rules failed\n");
    assert!(text.contains(" FAILED, ") && text.ends_with(&end), "{text}");

    let (report, text) = run(&["faulty.js", "makes roots of spans"], &Plan::default());
    assert_eq!(report.reached(), Some(Level::Version2), "{text}");
    let end = "level claimed: 3 (telemetry)\nlevel reached: 2 (version 2)\nlevel 3 not reached: 1 rule failed\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn single_rules_say_nothing_of_the_level_reached() {
    if !has_node() {
        return;
    }
    let (report, text) = run(&["worker.js"], &plan(&["1-F1"]));
    assert!(report.conforms() && report.reached().is_none());
    assert!(
        text.ends_with("1 pass\nlevel claimed: 3 (telemetry)\n"),
        "{text}"
    );
}

#[test]
fn what_the_user_must_mend_first_is_no_verdict() {
    let command_line = vec!["/no/such/worker".into()];
    let trouble = not_tried(Target::Command(command_line), &Plan::default());
    assert!(
        trouble.starts_with("cannot start /no/such/worker: "),
        "{trouble}"
    );
    let trouble = not_tried(Target::Command(vec!["Cargo.toml".into()]), &Plan::default());
    assert!(
        trouble.starts_with("cannot start Cargo.toml: "),
        "{trouble}"
    );
    let trouble = not_tried(Target::Socket("/no/such.sock".into()), &Plan::default());
    assert!(
        trouble.starts_with("cannot connect to /no/such.sock: "),
        "{trouble}"
    );
    if has_node() {
        let worker = command(&["faulty.js", "lacks functions"]);
        assert_eq!(
            not_tried(worker, &plan(&["1-F1"])),
            "the worker does not expose `sleep`, `report`, see pyproc-protocol/CONFORMANCE.md"
        );
    }
}

#[test]
fn what_should_be_so_and_is_not_is_a_remark() {
    if !has_node() {
        return;
    }
    let remark = "other users may reach the socket file";
    let (report, text) = run(&["faulty.js", "lets everybody in"], &plan(&["1-P2"]));
    assert!(report.conforms() && text.contains(remark), "{text}");
    let (report, text) = run(&["worker.js"], &plan(&["1-P2"]));
    assert!(report.conforms() && !text.contains(remark), "{text}");
    assert!(text.contains("      not tried: whether "), "{text}");
}

/// 1-V1 lets it.
#[test]
fn a_worker_may_carry_the_white_space_of_a_body() {
    if !has_node() {
        return;
    }
    let (report, text) = run(
        &["faulty.js", "carries white space of bodies"],
        &plan(&["1-M1"]),
    );
    assert!(report.conforms(), "{text}");
}

#[test]
fn a_failure_says_what_was_sent_what_came_and_what_should_have_come() {
    if !has_node() {
        return;
    }
    let (_, text) = run(&["faulty.js", "answers pings with 0"], &plan(&["2-K1"]));
    let lines = [
        "2-K1  FAILED",
        r"      > 16 bytes: \x00\x00\x00\x0c\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
        r"      < 16 bytes: \x00\x00\x00\x0c\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        "      expected: a pong with the id 1",
        r"      came:     16 bytes: \x00\x00\x00\x0c\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ];
    for line in lines {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
    let (_, text) = run(&["faulty.js", "fails always"], &plan(&["1-A4"]));
    let expected = r#"      expected: {"id":1,"ok":true,"body":null}"#;
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_level_that_is_not_claimed_is_not_reached_rather_than_failed() {
    if !has_node() {
        return;
    }
    let rules = ["1-F4", "1-H3", "2-K1", "3-T1"];
    let (report, text) = run(&["faulty.js", "knows no hello"], &plan(&rules));
    assert!(report.conforms(), "{text}");
    for line in [
        "1-H3  not applicable",
        "2-... not reached    1 of the rules of level 2 (version 2)",
        "3-... not reached    1 of the rules of level 3 (telemetry)",
        "level claimed: 1 (calls)",
    ] {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
    assert!(!text.contains("2-K1"), "{text}");
    let verbose = Plan {
        verbose: true,
        ..plan(&rules)
    };
    let (_, text) = run(&["faulty.js", "knows no hello"], &verbose);
    assert!(
        text.contains("2-K1  not reached") && !text.contains("2-..."),
        "{text}"
    );
    let demanding = Plan {
        demanded: Some(Level::Version2),
        ..plan(&["1-F4"])
    };
    let (report, text) = run(&["faulty.js", "knows no hello"], &demanding);
    assert!(
        !report.conforms()
            && text.ends_with("level 2 was asked for, and the worker claims 1 (calls)\n"),
        "{text}"
    );
}

#[test]
fn a_known_failure_is_none_and_a_list_that_is_not_true_is_one() {
    if !has_node() {
        return;
    }
    let list = Path::new(env!("CARGO_TARGET_TMPDIR")).join("known.deviations");
    fs::write(
        &list,
        "# A list.\n\n2-K1 it has no ids\n1-F4 it reads whole frames\n",
    )
    .unwrap();
    let known = |only: &[&str]| Plan {
        deviations: Deviations::read(&list).unwrap(),
        ..plan(only)
    };
    let worker = ["faulty.js", "answers pings with 0"];
    let (report, text) = run(&worker, &known(&["2-K1", "2-K2"]));
    assert!(report.conforms(), "{text}");
    assert!(
        text.contains("2-K1  known failure") && text.contains("it has no ids"),
        "{text}"
    );
    let (report, text) = run(&worker, &known(&["1-F4"]));
    assert_eq!(report.failed().collect::<Vec<_>>(), ["1-F4"], "{text}");
}

#[test]
fn a_worker_that_does_not_start_does_not_conform() {
    let words = ["sh", "-c", "echo no module named pyproc >&2; exit 1"]
        .map(Into::into)
        .into();
    let (report, text) = try_it(Target::Command(words), &Plan::default());
    assert!(!report.conforms());
    assert!(text.contains("no module named pyproc"), "{text}");
}

#[test]
fn a_socket_of_a_worker_that_runs_already_is_tried_as_far_as_that_goes() {
    if !has_node() {
        return;
    }
    let socket = PathBuf::from(format!("/tmp/ppv-{}.sock", std::process::id()));
    let mut worker = Command::new("node")
        .arg(script("worker.js"))
        .env("PYPROC_SOCKET_PATH", &socket)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(worker.try_wait().unwrap().is_none(), "the worker ended");
        std::thread::sleep(Duration::from_millis(2));
    }
    let (report, text) = try_it(Target::Socket(socket.clone()), &plan(&["1-F4", "1-P6"]));
    worker.kill().unwrap();
    worker.wait().unwrap();
    let _ = fs::remove_file(socket);
    assert!(report.conforms(), "{text}");
    assert!(text.contains("1-P6  not applicable"), "{text}");
}

fn plan(only: &[&str]) -> Plan {
    Plan {
        only: only.iter().map(ToString::to_string).collect(),
        ..Plan::default()
    }
}

/// Tries a worker of those beside the tool.
fn run(words: &[&str], plan: &Plan) -> (Report, String) {
    try_it(command(words), plan)
}

/// A script, and its argument.
fn command(words: &[&str]) -> Target {
    let mut command_line = vec!["node".into(), script(words[0]).into()];
    command_line.extend(words[1..].iter().map(Into::into));
    Target::Command(command_line)
}

fn not_tried(target: Target, plan: &Plan) -> String {
    match suite::run(target, plan, &mut Vec::new()) {
        Err(Trouble::NotTried(reason)) => reason,
        Err(Trouble::Report(error)) => panic!("{error}"),
        Ok(_) => panic!("it was tried"),
    }
}

fn try_it(target: Target, plan: &Plan) -> (Report, String) {
    let mut text = Vec::new();
    let report = suite::run(target, plan, &mut text).unwrap();
    (report, String::from_utf8(text).unwrap())
}

fn script(name: &str) -> PathBuf {
    let directory = "tests/conformance/workers/javascript";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(directory)
        .join(name)
}

fn sorted(rules: &[&'static str]) -> Vec<&'static str> {
    let order = suite::rules::all();
    let mut rules = rules.to_vec();
    rules.sort_by_key(|id| order.iter().position(|rule| rule.id == *id));
    rules
}

/// `cargo xtask ci` fails without it, in its step `conformance`.
fn has_node() -> bool {
    let node = Command::new("node")
        .args(["--eval", "if (!Object.hasOwn) process.exit(1)"])
        .status();
    let there = node.is_ok_and(|it| it.success());
    if !there {
        eprintln!("SKIPPED: Node.js 18 or newer is needed for the faulty workers");
    }
    there
}
