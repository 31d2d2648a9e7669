//! Runs the example as a user would. Its Python needs OpenTelemetry's API, too.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    env,
    ffi::OsString,
    process::{Command, Output},
};

use serde_json::Value;

fn python() -> OsString {
    env::var_os("PYPROC_PYTHON_EXEC").unwrap_or_else(|| "python3".into())
}

fn has_opentelemetry() -> bool {
    let mut import = Command::new(python());
    let imported = import
        .args(["-c", "import opentelemetry.trace, pyproc_worker"])
        .output();
    let there = imported.is_ok_and(|it| it.status.success());
    if !there {
        println!("not run: {:?} has no opentelemetry", python());
    }
    there
}

fn run(variables: &[(&str, &str)]) -> Output {
    let mut example = Command::new(env!("CARGO_BIN_EXE_observability"));
    example.env("PYPROC_PYTHON_EXEC", python());
    example.envs(variables.iter().copied());
    example.output().unwrap()
}

#[test]
fn two_traces_go_from_rust_into_python_and_are_shown() {
    if !has_opentelemetry() {
        return;
    }
    let output = run(&[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    for line in [
        "3 cost 6",
        "-1: `price` raised ValueError: count must not be negative",
        "8 spans exported, 0 lost",
        r#"pyproc_requests_total{function_name="price",status="error"} 1"#,
        r#"pyproc_requests_total{function_name="price",status="success"} 1"#,
        "shop_items_total 3",
    ] {
        assert!(said.lines().any(|it| it == line), "no {line:?} in\n{said}");
    }
    let shown = String::from_utf8(output.stdout).unwrap();
    // Nobody reads it on a terminal.
    let spans: Vec<Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for name in [
        "process_request",
        "pyproc.pool.call",
        "pyproc.worker.execute",
        "load prices",
    ] {
        let of_name = spans.iter().filter(|it| it["span_name"] == name);
        assert_eq!(of_name.count(), 2, "{name} in\n{shown}");
    }
    let mut traces: Vec<_> = spans.iter().map(|it| it["trace_id"].as_str()).collect();
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 2, "{shown}");
}

#[test]
fn two_variables_send_the_traces_to_a_collector() {
    if !has_opentelemetry() {
        return;
    }
    // Nobody listens there: what could not be sent is said, and nothing is shown.
    let output = run(&[
        ("PYPROC_TELEMETRY_EXPORTER_TYPE", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "100"),
    ]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("8 spans were not exported"), "{said}");
    assert!(output.stdout.is_empty());
}
