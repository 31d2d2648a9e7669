//! Runs the examples as a user would, and looks at what they print and answer. The Python in
//! `PYPROC_PYTHON_EXEC`, or `python3`, must have the package `pyproc-worker`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod service;

use std::{
    env,
    ffi::OsString,
    process::{Command, Stdio},
};

use service::{Service, is_alive, send_signal, until};

#[test]
fn quickstart_prints_the_result_and_the_exception() {
    let output = output_of(env!("CARGO_BIN_EXE_quickstart"));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(
        lines[..3],
        [
            r#"predict answers {"result":84}"#,
            "`predict` raised ValueError: value must not be negative",
            "Traceback (most recent call last):",
        ]
    );
}

#[test]
fn logging_has_the_id_of_a_request_on_the_lines_of_rust_and_python() {
    let output = output_of(env!("CARGO_BIN_EXE_logging"));
    let lines = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines
        .filter(|line: &serde_json::Value| line["request_id"] == "r-2")
        .collect();
    for said in [
        "order received",
        "pricing",
        "the request is r-2",
        "not in the shop",
        "order refused",
    ] {
        let line = lines.iter().find(|line| line["msg"] == said);
        let line = line.unwrap_or_else(|| panic!("no {said:?} in\n{output}"));
        assert!(
            line["trace_id"].is_string() && line["trace_id"] == lines[0]["trace_id"],
            "{line}"
        );
    }
}

#[test]
fn each_example_runs_the_python_that_the_variable_names() {
    for program in [
        env!("CARGO_BIN_EXE_quickstart"),
        env!("CARGO_BIN_EXE_digits"),
        env!("CARGO_BIN_EXE_logging"),
        env!("CARGO_BIN_EXE_observability"),
        env!("CARGO_BIN_EXE_axum_service"),
        env!("CARGO_BIN_EXE_demo"),
    ] {
        let output = Command::new(program)
            .env("PYPROC_PYTHON_EXEC", "/no/such/python")
            .env("ADDR", "127.0.0.1:0")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{program}: {errors}");
        assert!(errors.contains("/no/such/python"), "{program}: {errors}");
    }
}

#[test]
fn the_service_listens_where_the_variable_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_axum_service"))
        .env("ADDR", "no address")
        .env("PYPROC_PYTHON_EXEC", python())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no address"), "{errors}");
}

#[test]
fn custom_transport_needs_no_python_and_ends_by_itself() {
    let output = output_of(env!("CARGO_BIN_EXE_custom_transport"));
    for line in [
        "arithmetic/1.0 speaks version 2",
        "  2: divide answers 42",
        "  3: divide raises ZeroDivisionError: division by zero",
        "  4: multiply raises pyproc_worker.MethodNotFound: Method 'multiply' not found",
        "the worker has seen the end of the connection, and ended",
    ] {
        assert!(
            output.lines().any(|it| it == line),
            "no {line:?} in\n{output}"
        );
    }
}

#[test]
fn digits_are_recognised_if_scikit_learn_is_installed() {
    if !can_import("sklearn") {
        println!("skipped: {:?} has no scikit-learn", python());
        return;
    }
    let output = output_of(env!("CARGO_BIN_EXE_digits"));
    let line = output
        .lines()
        .find(|it| it.contains("images are recognised"))
        .unwrap();
    let percent = line.trim_end_matches(" %").rsplit(' ').next().unwrap();
    let accuracy: f64 = percent.parse().unwrap();
    assert!((95.0..100.0).contains(&accuracy), "{output}");
}

#[test]
fn the_service_answers_and_says_that_it_is_ready() {
    let service = Service::start(&PATIENT);
    let answer = service.predict(r#"{"value": 0}"#);
    assert_eq!(
        (answer.status, answer.json()["probability"].as_f64()),
        (200, Some(0.5))
    );
    assert_eq!(service.get("/healthz").status, 200);
    let ready = service.get("/readyz");
    assert_eq!(
        (ready.status, ready.json()["ready"].as_u64()),
        (200, Some(2))
    );
}

#[test]
fn each_fault_of_caller_or_function_has_its_status() {
    let service = Service::start(&PATIENT);
    for (body, status, kind) in [
        (r#"{"value": "#, 400, "bad_request"),
        (r#"{"value": "high"}"#, 422, "pyproc_worker.InvalidRequest"),
        (
            r#"{"value": 0, "delay_ms": -1}"#,
            422,
            "pyproc_worker.InvalidRequest",
        ),
        (r#"{"value": -1000}"#, 500, "OverflowError"),
    ] {
        let answer = service.predict(body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert_eq!(answer.json()["type"], kind, "{body}");
        assert_ne!(answer.json()["message"], "", "{body}");
    }
}

#[test]
fn a_request_that_takes_too_long_is_a_gateway_timeout() {
    let answer = Service::start(&["--timeout", "200"]).predict(SLOW);
    assert_eq!((answer.status, answer.header("retry-after")), (504, None));
    assert_eq!(answer.json()["type"], "timeout");
}

#[test]
fn a_full_service_refuses_at_once_and_says_when_to_come_back() {
    let service = Service::start(&SMALLEST);
    let _running = service.send(SLOW);
    until("one runs", || service.readiness("in_flight") == 1);
    let _waiting = service.send(SLOW);
    until("one waits", || service.readiness("queued") == 1);

    let refused = service.predict(r#"{"value": 0}"#);
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(refused.json()["type"], "overloaded");
}

#[test]
fn the_service_outlives_a_killed_worker() {
    let service = Service::start(&SMALLEST);
    let running = service.send(SLOW);
    until("one runs", || service.readiness("in_flight") == 1);
    for worker in service.workers() {
        send_signal("KILL", worker);
    }

    let lost = running.answer();
    assert_eq!(lost.status, 502);
    assert_eq!(lost.json()["type"], "worker_unavailable");
    assert_eq!(service.predict(r#"{"value": 0}"#).status, 200);
}

#[test]
fn sigterm_lets_a_running_request_finish_and_leaves_no_process() {
    let mut service = Service::start(&PATIENT);
    let workers = service.workers();
    assert_eq!(workers.len(), 2);
    let running = service.send(r#"{"value": 0, "delay_ms": 1500}"#);
    until("it runs", || service.readiness("in_flight") == 1);
    service.signal("TERM");

    assert_eq!(running.answer().status, 200);
    assert_eq!(service.exit_code(), Some(0));
    for worker in workers {
        assert!(!is_alive(worker), "worker {worker} is left");
    }
}

#[test]
fn sighup_replaces_the_workers_and_lets_a_running_request_finish() {
    let service = Service::start(&PATIENT);
    let before = service.workers();
    let running = service.send(r#"{"value": 0, "delay_ms": 1500}"#);
    until("it runs", || service.readiness("in_flight") == 1);
    service.signal("HUP");

    assert_eq!(running.answer().status, 200);
    until("all workers are others", || {
        let now = service.workers();
        now.len() == 2 && !now.iter().any(|worker| before.contains(worker))
    });
    assert_eq!(service.predict(r#"{"value": 0}"#).status, 200);
}

/// No request of a test takes that long, however slow the machine is.
const PATIENT: [&str; 2] = ["--timeout", "60000"];

/// One request runs, one waits, and both have time.
const SMALLEST: [&str; 8] = [
    "--workers",
    "1",
    "--max-in-flight",
    "1",
    "--max-queue",
    "1",
    "--timeout",
    "60000",
];

/// Takes longer than any test.
const SLOW: &str = r#"{"value": 0, "delay_ms": 60000}"#;

fn output_of(program: &str) -> String {
    let output = Command::new(program).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn python() -> OsString {
    env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into())
}

fn can_import(module: &str) -> bool {
    Command::new(python())
        .args(["-c", &format!("import {module}")])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}
