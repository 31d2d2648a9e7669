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

#[test]
fn no_format_lets_a_text_turn_the_direction_of_its_line() {
    const TURNS: [char; 12] = [
        '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
        '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
    ];
    let all = String::from_iter(TURNS);
    let nested = format!(r#"{{"a{all}": {{"b{all}": ["{all}"]}}}}"#);
    for format in [LogFormat::Json, LogFormat::Text, LogFormat::Bunyan] {
        let builder = LoggingBuilder::default().format(format);
        let written = logged(builder, || {
            let _span = info_span!("s", of_span = all.as_str()).entered();
            info!(field = all.as_str(), "message {all}");
            info!(target: "pyproc::output", exception = all.as_str(), fields = nested.as_str(), "line {all}");
        })
        .text();
        assert!(!written.contains(TURNS), "{format:?}: {written}");
        assert!(
            written.contains(r"line \u061c\u200e\u200f\u202a"),
            "{format:?}: {written}"
        );
        assert!(written.contains(r"a\u061c"), "of a key: {written}");
    }
}
