//! Lines that begin as Python's logging libraries write them.

use serde_json::{Map, Value, json};
use tracing::Level;

use super::{Entry, Severity};

/// A line of `logging` or loguru, whose message may go on with a traceback.
pub(super) fn parse(line: &str) -> Option<Entry> {
    let (severity, logger, message, fields) = of_basic_config(line)
        .or_else(|| of_first_release(line))
        .or_else(|| of_loguru(line))?;
    Some(Entry {
        level: severity.level,
        critical: severity.critical,
        logger: Some(logger.into()),
        fields,
        ..Entry::plain(message)
    })
}

/// `/srv/a.py:17: UserWarning: the message`, as Python's `warnings` are shown, under the name that `logging` gives them.
pub(super) fn parse_warning(line: &str) -> Option<Entry> {
    const WARNING: &str = "Warning: ";
    let end = line.find(WARNING)? + WARNING.len() - ": ".len();
    let (place, category) = line.get(..end)?.rsplit_once(": ")?;
    let (file, number) = place.rsplit_once(':')?;
    let is_category = category.chars().all(|c| c.is_alphanumeric() || c == '_');
    if file.is_empty() || !is_category || number.parse::<u32>().is_err() {
        return None;
    }
    Some(Entry {
        level: Level::WARN,
        logger: Some("py.warnings".into()),
        ..Entry::plain(line)
    })
}

type Parts<'a> = (Severity, &'a str, &'a str, Map<String, Value>);

/// `WARNING:shop.cart:the message`, as `logging.basicConfig` sets it up.
fn of_basic_config(line: &str) -> Option<Parts<'_>> {
    let (level, rest) = line.split_once(':')?;
    let (logger, message) = rest.split_once(':')?;
    Some((named(level)?, name(logger)?, message, Map::new()))
}

/// `2026-11-21 12:00:00,123 - shop.cart - WARNING - the message`, as version 0.1.0 of the worker package, and many
/// a script, set it up.
fn of_first_release(line: &str) -> Option<Parts<'_>> {
    let mut parts = after_time(line, ',')?.strip_prefix(" - ")?.splitn(3, " - ");
    let logger = name(parts.next()?)?;
    let severity = named(parts.next()?)?;
    Some((severity, logger, parts.next()?, Map::new()))
}

/// `2026-11-21 12:00:00.123 | WARNING  | shop.cart:add:17 - the message`, loguru's default.
fn of_loguru(line: &str) -> Option<Parts<'_>> {
    let rest = after_time(line, '.')?.strip_prefix(" | ")?;
    let (level, rest) = rest.split_once(" | ")?;
    let (place, message) = rest.split_once(" - ")?;
    let (rest, number) = place.rsplit_once(':')?;
    let (logger, function) = rest.rsplit_once(':')?;
    let number: u32 = number.parse().ok()?;
    let fields = Map::from_iter([
        ("function".into(), function.into()),
        ("line".into(), json!(number)),
    ]);
    Some((named(level.trim_end())?, name(logger)?, message, fields))
}

/// The text after `2026-11-21 12:00:00,123`. The time itself is left out, because its zone is unknown.
fn after_time(line: &str, point: char) -> Option<&str> {
    const SHAPE: &[u8] = b"dddd-dd-dd dd:dd:dd.ddd";
    let (time, rest) = line.split_at_checked(SHAPE.len())?;
    let fits = |(byte, shape): (u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        b'.' => char::from(byte) == point,
        other => byte == *other,
    };
    time.bytes().zip(SHAPE).all(fits).then_some(rest)
}

/// Python's names of levels, and loguru's.
fn named(level: &str) -> Option<Severity> {
    let is_level = matches!(
        level,
        "TRACE" | "DEBUG" | "INFO" | "SUCCESS" | "WARNING" | "ERROR" | "CRITICAL"
    );
    is_level.then(|| Severity::named(level)).flatten()
}

fn name(logger: &str) -> Option<&str> {
    let is_name = !logger.is_empty() && !logger.contains(char::is_whitespace);
    is_name.then_some(logger)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> (Level, Option<String>, String) {
        let entry = parse(line).unwrap();
        (entry.level, entry.logger, entry.message)
    }

    #[test]
    fn the_default_formats_of_logging_the_first_release_and_loguru_are_understood() {
        let logger = || Some("shop.cart".to_owned());
        let no = || "no: such - item".to_owned();
        assert_eq!(
            parts("ERROR:shop.cart:no: such - item"),
            (Level::ERROR, logger(), no())
        );
        assert_eq!(
            parts("2026-11-21 12:00:00,123 - shop.cart - WARNING - no: such - item"),
            (Level::WARN, logger(), no())
        );
        let loguru = "2026-11-21 12:00:00.123 | SUCCESS  | shop.cart:add:17 - no: such - item";
        assert_eq!(parts(loguru), (Level::INFO, logger(), no()));
        let fields = Value::Object(parse(loguru).unwrap().fields);
        assert_eq!(fields, json!({"function": "add", "line": 17}));
    }

    #[test]
    fn a_warning_of_python_has_its_severity() {
        for line in [
            "/srv/a.py:17: UserWarning: no: such Warning: item",
            "sys:1: DeprecationWarning: ",
            "<string>:1: SyntaxWarning: invalid escape sequence '\\d'",
        ] {
            let entry = parse_warning(line).unwrap();
            assert_eq!((entry.level, &*entry.message), (Level::WARN, line));
            assert_eq!(entry.logger.as_deref(), Some("py.warnings"));
        }
        for line in [
            "Warning: x",
            "a.py:17: Warnings: x",
            "a.py:17: a UserWarning: x",
            "a.py: UserWarning: x",
            ":1: UserWarning: x",
            "17: UserWarning: x",
        ] {
            assert_eq!(parse_warning(line), None, "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_records() {
        for line in [
            "Error:a:b",
            "INFO: a:b",
            "INFO::b",
            "INFO",
            "http://a:b",
            "2026-11-21 12:00:00,123 - a - OTHER - b",
            "2026-11-21 12:00:00.123 - a - INFO - b",
            "2026-11-21 12:00:00,123 - a",
            "2026-11-21T12:00:00,123 - a - INFO - b",
            "2026-11-21 12:00:00.123 | INFO     | a:b - c",
            "2026-11-21 12:00:00.123",
            "2026-11-21 12:00:00,12é - a - INFO - b",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
