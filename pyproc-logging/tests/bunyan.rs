//! Lines in the format of the Bunyan tools.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use pyproc_logging::{Levels, LogFormat, LoggingBuilder};
use support::{assert_hidden, logged, secrets};
use tracing::{info, info_span, warn};

fn bunyan() -> LoggingBuilder {
    LoggingBuilder::default()
        .format(LogFormat::Bunyan)
        .name("svc")
}

#[test]
fn bunyan_lines_are_those_of_its_formatter() {
    let capture = logged(bunyan(), || {
        let _span = info_span!("s", request_id = "r-1").entered();
        info!(count = 3, "m");
    });
    let lines = capture.objects();
    let messages: Vec<_> = lines.iter().map(|line| line.text("msg")).collect();
    assert_eq!(messages, ["[S - START]", "[S - EVENT] m", "[S - END]"]);
    let event = &lines[1];
    assert_eq!(event.text("name"), "svc");
    assert_eq!(event.get("level").unwrap(), 30);
    assert_eq!(event.get("count").unwrap(), 3);
    assert_eq!(event.text("request_id"), "r-1");
}

#[test]
fn a_bunyan_warning_has_the_fields_of_its_request_without_lines_for_the_span() {
    let capture = logged(bunyan().level(Levels::WARN), || {
        let _span = info_span!("s", request_id = "r-1").entered();
        warn!("m");
    });
    let lines = capture.objects();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].text("request_id"), "r-1");
}

#[test]
fn a_bunyan_value_over_the_limit_is_cut_too() {
    let long = "é".repeat(500_000);
    let capture = logged(bunyan().max_value_bytes(101), || info!(long, "{long}"));
    let cut = format!("{}…[cut]", "é".repeat(50));
    let line = &capture.objects()[0];
    assert_eq!((line.text("long"), line.text("msg")), (cut.clone(), cut));
}

#[test]
fn secrets_are_hidden_from_the_lines_of_spans_too() {
    let lines = secrets(bunyan());
    assert!(lines.contains("[S - START]") && lines.contains("[S - END]"));
    assert_hidden(&lines);
}
