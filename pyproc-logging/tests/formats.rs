//! Text lines, and what stays hidden.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use pyproc_logging::{Color, LogFormat, LoggingBuilder};
use support::{Object, assert_hidden, logged, secrets};
use tracing::{error, info, info_span};

fn text() -> LoggingBuilder {
    LoggingBuilder::default().format(LogFormat::Text)
}

/// Without the time at the beginning.
fn rest(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.ends_with('Z'), "{time}");
    rest
}

#[test]
fn text_is_one_line_with_fields_as_words() {
    let capture = logged(text(), || {
        let _span = info_span!("s", request_id = "r-1", level = "mine").entered();
        info!(target: "app", count = 3, empty = "", name = "two words", "multi\nline \"quoted\"");
        error!(target: "app", "m");
    });
    let lines = capture.lines();
    let lines: Vec<_> = lines.iter().map(|line| rest(line)).collect();
    assert_eq!(
        lines,
        [
            " INFO app: multi\\nline \"quoted\" count=3 empty=\"\" name=\"two words\" request_id=r-1 level_2=mine",
            "ERROR app: m request_id=r-1 level_2=mine",
        ]
    );
}

#[test]
fn what_is_not_a_terminal_gets_no_colours_unless_they_are_wanted() {
    let run = |builder: LoggingBuilder| logged(builder, || info!(a = "\u{1b}[31m", "m")).text();
    assert!(!run(text()).contains('\u{1b}'));
    let colored = run(text().color(Color::Always));
    assert!(colored.contains("\u{1b}[32m INFO\u{1b}[0m"), "{colored:?}");
    // That of the field is escaped all the same.
    assert!(colored.contains(r#"="\u001b[31m""#), "{colored:?}");
}

#[test]
fn secrets_are_hidden() {
    for builder in [
        LoggingBuilder::default(),
        text(),
        text().color(Color::Always),
    ] {
        assert_hidden(&secrets(builder));
    }
}

#[test]
fn what_is_hidden_keeps_its_name() {
    let line = Object::parse(secrets(LoggingBuilder::default()).trim_end());
    assert_eq!(
        line.without_time(),
        "level=\"INFO\" msg=\"shown\" session_token=\"[redacted]\" pin=\"[redacted]\" \
         header=\"[redacted]\" password_hint=\"dog\" password=\"[redacted]\" Api_key=\"[redacted]\" \
         later=\"[redacted]\" user=\"ann\""
    );
}
