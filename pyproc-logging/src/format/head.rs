//! The head of a line.

use std::time::SystemTime;

use tracing::Level;

use super::{
    escape::{Quotes, escape},
    line_format::LineFormat,
    style::Style,
    timestamp::Clock,
    value::Value,
};

/// The message of the line about dropped lines.
pub(super) const DROPPED: &str = "log lines were dropped, as the output is too slow";

/// Writes the line about dropped lines, for which there is no event.
pub(crate) fn write_notice(format: &LineFormat, time: SystemTime, dropped: u64, out: &mut Vec<u8>) {
    let (level, style) = (Level::WARN, format.style);
    let mut clock = Clock::default();
    match style {
        Style::Json => {
            start_json(&mut clock, time, &level, out);
            style.message(Value::Text(DROPPED), out);
            out.push(b'"');
        }
        Style::Text { color } => {
            start_text(
                &mut clock,
                Paint(color),
                time,
                &level,
                env!("CARGO_CRATE_NAME"),
                out,
            );
            style.message(Value::Text(DROPPED), out);
        }
    }
    for field in &*format.fields {
        out.extend_from_slice(field.text());
    }
    style.key("dropped_lines", out);
    style.value(Value::Unsigned(dropped), out);
    out.extend_from_slice(if style == Style::Json { b"}\n" } else { b"\n" });
}

/// Up to the message.
pub(super) fn start_json(clock: &mut Clock, time: SystemTime, level: &Level, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    clock.write(time, out);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(level_name(level).as_bytes());
    out.extend_from_slice(b"\",\"msg\":\"");
}

/// Up to the message.
pub(super) fn start_text(
    clock: &mut Clock,
    paint: Paint,
    time: SystemTime,
    level: &Level,
    target: &str,
    out: &mut Vec<u8>,
) {
    paint.start(DIM, out);
    clock.write(time, out);
    paint.end(out);
    out.push(b' ');
    paint.start(level_color(level), out);
    // Padded to the longest name.
    out.extend_from_slice(&b"     "[level_name(level).len()..]);
    out.extend_from_slice(level_name(level).as_bytes());
    paint.end(out);
    out.push(b' ');
    paint.start(DIM, out);
    escape(target, Quotes::None, out);
    out.push(b':');
    paint.end(out);
    out.push(b' ');
}

fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

fn level_color(level: &Level) -> &'static [u8] {
    match *level {
        Level::ERROR => b"31",
        Level::WARN => b"33",
        Level::INFO => b"32",
        Level::DEBUG => b"34",
        Level::TRACE => b"35",
    }
}

pub(super) const DIM: &[u8] = b"2";

/// Terminal colours, if enabled.
#[derive(Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn start(self, code: &[u8], out: &mut Vec<u8>) {
        if self.0 {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(code);
            out.push(b'm');
        }
    }

    pub(super) fn end(self, out: &mut Vec<u8>) {
        if self.0 {
            out.extend_from_slice(b"\x1b[0m");
        }
    }
}
