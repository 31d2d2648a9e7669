//! Lines that logging libraries of Python wrote.

use serde_json::{Map, Value};
use tracing::Level;

use super::entry::{Entry, Ids};

/// How severe a line says it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Severity {
    pub(crate) level: Level,
    pub(crate) critical: bool,
}

const MESSAGE: &[&str] = &["message", "msg", "event"];
const LEVEL: &[&str] = &["level", "levelname", "severity", "log_level"];
const LOGGER: &[&str] = &["logger", "logger_name", "name"];
const TIME: &[&str] = &["timestamp", "@timestamp", "time", "asctime"];
const EXCEPTION: &[&str] = &["exception", "exc_info", "exc_text"];
const THREAD: &[&str] = &["thread_name", "threadName", "thread"];

/// An object of JSON that has a message, as `python-json-logger` and `structlog` write it. What has no place of
/// its own stays among the fields.
pub(super) fn read(line: &str) -> Option<Entry> {
    if !line.starts_with('{') || !line.ends_with('}') {
        return None;
    }
    let mut fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let message = take(&mut fields, MESSAGE, text)?;
    let severity = take(&mut fields, LEVEL, severity).unwrap_or(Severity::INFO);
    Some(Entry {
        level: severity.level,
        critical: severity.critical,
        message,
        logger: take(&mut fields, LOGGER, text),
        thread: take(&mut fields, THREAD, text),
        exception: take(&mut fields, EXCEPTION, text),
        time: take(&mut fields, TIME, time),
        ids: Ids {
            trace_id: take(&mut fields, &["trace_id"], |id| hex(id, 32)),
            span_id: take(&mut fields, &["span_id"], |id| hex(id, 16)),
            trace_flags: take(&mut fields, &["trace_flags"], |flags| hex(flags, 2)),
        },
        fields,
    })
}

/// `WARNING:shop.cart:the message`, as `logging.basicConfig` sets it up.
pub(super) fn prefixed(line: &str) -> Option<(Severity, &str, &str)> {
    let (level, rest) = line.split_once(':')?;
    let (logger, message) = rest.split_once(':')?;
    let is_level = matches!(level, "DEBUG" | "INFO" | "WARNING" | "ERROR" | "CRITICAL");
    let is_logger = !logger.is_empty() && !logger.contains(char::is_whitespace);
    let severity = named(level).filter(|_| is_level && is_logger)?;
    Some((severity, logger, message))
}

/// Takes the first field of these names whose value makes sense.
fn take<T>(
    fields: &mut Map<String, Value>,
    names: &[&str],
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    let (name, value) = names
        .iter()
        .find_map(|name| Some((name, read(fields.get(*name)?)?)))?;
    fields.remove(*name);
    Some(value)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn severity(value: &Value) -> Option<Severity> {
    match value {
        Value::String(name) => named(name),
        Value::Number(number) => number.as_u64().map(Severity::of),
        _ => None,
    }
}

fn named(name: &str) -> Option<Severity> {
    let level = match name.to_ascii_lowercase().as_str() {
        "trace" | "notset" => 0,
        "debug" => 10,
        "info" => 20,
        "warn" | "warning" => 30,
        "error" | "exception" => 40,
        "critical" | "fatal" => 50,
        _ => return None,
    };
    Some(Severity::of(level))
}

impl Severity {
    const INFO: Self = Self {
        level: Level::INFO,
        critical: false,
    };

    /// By Python's numbers.
    pub(crate) fn of(number: u64) -> Self {
        let level = match number {
            40.. => Level::ERROR,
            30.. => Level::WARN,
            20.. => Level::INFO,
            10.. => Level::DEBUG,
            _ => Level::TRACE,
        };
        Self {
            level,
            critical: number >= 50,
        }
    }
}

/// Nanoseconds since the Unix epoch, of seconds or of RFC 3339. A time without its zone says too little.
fn time(value: &Value) -> Option<u64> {
    match value {
        Value::Number(seconds) => {
            let nanos = seconds.as_f64()? * 1e9;
            // Everything in between is a time after 2001, or not of this century.
            (1e18..1e19).contains(&nanos).then_some(nanos as u64)
        }
        Value::String(text) => {
            let utc = text.strip_suffix("+00:00").or(text.strip_suffix('Z'))?;
            let time = humantime::parse_rfc3339_weak(&format!("{utc}Z")).ok()?;
            let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
            u64::try_from(since.as_nanos()).ok()
        }
        _ => None,
    }
}

fn hex(value: &Value, digits: usize) -> Option<String> {
    let text = value.as_str()?;
    let is_hex = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_id = digits == 2 || text.bytes().any(|digit| digit != b'0');
    (is_hex && is_id).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_python_json_logger_is_taken_apart() {
        let entry = read(
            r#"{"asctime": "2026-11-21T12:00:00.5Z", "levelname": "WARNING", "name": "shop.cart", "message": "low",
                "threadName": "MainThread", "left": 3, "exc_info": "Traceback ..."}"#,
        )
        .unwrap();
        assert_eq!((entry.level, entry.critical), (Level::WARN, false));
        assert_eq!(entry.message, "low");
        assert_eq!(entry.logger.as_deref(), Some("shop.cart"));
        assert_eq!(entry.thread.as_deref(), Some("MainThread"));
        assert_eq!(entry.exception.as_deref(), Some("Traceback ..."));
        assert_eq!(entry.time, Some(1_795_262_400_500_000_000));
        assert_eq!(Value::Object(entry.fields), serde_json::json!({"left": 3}));
    }

    #[test]
    fn a_line_of_structlog_is_taken_apart() {
        let entry = read(
            r#"{"event": "gone", "level": "critical", "timestamp": "2026-11-21T12:00:00+00:00", "user": {"id": 7},
                "trace_id": "0AF7651916CD43DD8448EB211C80319C", "span_id": "0000000000000000"}"#,
        )
        .unwrap();
        assert_eq!((entry.level, entry.critical), (Level::ERROR, true));
        assert_eq!(entry.message, "gone");
        assert_eq!(entry.time, Some(1_795_262_400_000_000_000));
        assert_eq!(
            entry.ids.trace_id.as_deref(),
            Some("0af7651916cd43dd8448eb211c80319c")
        );
        // What makes no sense as an id is a field as any other.
        let rest = serde_json::json!({"user": {"id": 7}, "span_id": "0000000000000000"});
        assert_eq!(Value::Object(entry.fields), rest);
    }

    #[test]
    fn a_result_that_was_printed_as_json_is_no_log_line() {
        for line in [
            r#"{"score": 0.5}"#,
            r#"{"message": 3}"#,
            "{",
            "[1]",
            "{'message': 'x'}",
            "{}}",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn a_second_name_for_the_same_thing_stays_a_field() {
        let entry = read(r#"{"message": "m", "event": "e", "level": "odd", "name": 3}"#).unwrap();
        assert_eq!(entry.message, "m");
        assert_eq!(entry.level, Level::INFO);
        let rest = serde_json::json!({"event": "e", "level": "odd", "name": 3});
        assert_eq!(Value::Object(entry.fields), rest);
    }

    #[test]
    fn seconds_since_the_epoch_are_a_time_and_other_numbers_are_not() {
        let of = |number: f64| time(&Value::from(number));
        assert_eq!(of(1_795_262_400.0), Some(1_795_262_400_000_000_000));
        assert_eq!((of(5.0), of(-1e9), of(1e300)), (None, None, None));
        assert_eq!(time(&"2026-11-21 12:00:00,123".into()), None);
    }

    #[test]
    fn the_default_format_of_logging_is_understood() {
        let (severity, logger, message) = prefixed("ERROR:shop.cart:no: such item").unwrap();
        assert_eq!(severity.level, Level::ERROR);
        assert_eq!((logger, message), ("shop.cart", "no: such item"));
        for line in ["Error:a:b", "INFO: a:b", "INFO::b", "INFO", "http://a:b"] {
            assert_eq!(prefixed(line), None, "{line}");
        }
    }
}
