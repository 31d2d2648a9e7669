//! A log in JSON and the exporter `stdout` on one stream, which nobody reads on a terminal: each line is JSON. The fields of every line
//! are those of the log, whichever crate reads the environment.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    process::{Command, Stdio},
};

use opentelemetry::trace::{Span, Tracer};
use pyproc_logging::LoggingConfig;
use pyproc_telemetry::{Config, ExporterType, Provider, opentelemetry};
use serde_json::Value;
use tracing::info;

const SPEAKS: &str = "PYPROC_TEST_SPEAKS";
const COUNT: usize = 1000;

fn main() {
    match env::var_os(SPEAKS) {
        Some(_) => speak(),
        None => check(),
    }
}

fn speak() {
    let config = LoggingConfig::from_env().unwrap();
    assert_eq!(config.fields, Config::from_env().unwrap().fields);
    let _log = pyproc_logging::init(config).unwrap();
    let provider = Provider::builder()
        .enabled(true)
        .exporter_type(ExporterType::Stdout)
        .start()
        .unwrap();
    let tracer = provider.tracer("shop");
    for number in 0..COUNT {
        info!(number, "a log line");
        tracer.start("a\nspan").end();
    }
    provider.shutdown_blocking().unwrap();
}

fn check() {
    let output = Command::new(env::current_exe().unwrap())
        .env(SPEAKS, "1")
        .env("PYPROC_LOG_FIELDS", "version=1.4.2")
        .env("POD_NAME", "shop-\"1\"\n")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let logged = lines.iter().filter(|line| line["msg"] == "a log line");
    let logged: Vec<_> = logged.collect();
    let spans = lines.iter().filter(|line| line["span_name"] == "a\nspan");
    assert_eq!((logged.len(), spans.count()), (COUNT, COUNT));
    for line in logged {
        assert_eq!(line["pod_name"], "shop-\"1\"\n");
        assert_eq!(line["version"], "1.4.2");
    }
}
