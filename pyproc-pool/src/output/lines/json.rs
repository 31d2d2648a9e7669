//! JSON lines of logging libraries, of Python and of other languages.

use serde_json::{Map, Value};

use super::{
    Severity,
    entry::{Entry, Ids},
    stack_trace::StackTrace,
};

const MESSAGE: &[&str] = &["message", "msg", "event"];
const LEVEL: &[&str] = &["level", "levelname", "severity", "log_level"];
const LOGGER: &[&str] = &["logger", "logger_name", "name"];
const TIME: &[&str] = &["timestamp", "@timestamp", "time", "asctime", "ts"];
const EXCEPTION: &[&str] = &[
    "exception",
    "exc_info",
    "exc_text",
    "stack_trace",
    "stacktrace",
    "stack",
];
/// The fields in which loggers of JavaScript put the error, as an object.
const ERROR: &[&str] = &["err", "error"];
const THREAD: &[&str] = &["thread_name", "threadName", "thread"];

/// A JSON object that has a message, as `python-json-logger`, `structlog` or `pino` write it. Other keys become fields.
/// Numbers are Python's levels, unless the worker is written in another language.
pub(super) fn parse(line: &str, foreign: bool) -> Option<Entry> {
    if !line.starts_with('{') || !line.ends_with('}') {
        return None;
    }
    let mut fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    if let Some(entry) = of_loguru(&fields) {
        return Some(entry);
    }
    let message = take(&mut fields, MESSAGE, text)?;
    let is_foreign = foreign || is_of_javascript(&fields);
    let severity = take(&mut fields, LEVEL, |level| severity(level, is_foreign));
    let severity = severity.unwrap_or(Severity::INFO);
    let exception = take(&mut fields, EXCEPTION, text).or_else(|| stack(&fields));
    Some(Entry {
        level: severity.level,
        critical: severity.critical,
        message,
        logger: take(&mut fields, LOGGER, text),
        thread: take(&mut fields, THREAD, text),
        exception,
        time: take(&mut fields, TIME, time),
        ids: Ids::take(&mut fields),
        fields,
    })
}

impl Ids {
    /// Removes the valid ids from the fields, and returns them.
    fn take(fields: &mut Map<String, Value>) -> Self {
        Self {
            trace_id: take(fields, &["trace_id"], |id| hex(id, 32)),
            span_id: take(fields, &["span_id"], |id| hex(id, 16)),
            trace_flags: take(fields, &["trace_flags"], |flags| hex(flags, 2)),
        }
    }
}

/// A line of loguru with `serialize=True`: the text as it would be printed, and the record.
fn of_loguru(line: &Map<String, Value>) -> Option<Entry> {
    let (printed, record) = (line.get("text")?.as_str()?, line.get("record")?);
    let severity = Severity::of(record.get("level")?.get("no")?.as_u64()?);
    let mut fields = record.get("extra")?.as_object()?.clone();
    let file = record.get("file").and_then(|file| file.get("path"));
    let places = [
        ("function", record.get("function")),
        ("file", file),
        ("line", record.get("line")),
    ];
    for (name, value) in places {
        if let Some(value) = value.filter(|_| !fields.contains_key(name)) {
            fields.insert(name.into(), value.clone());
        }
    }
    let ids = Ids::take(&mut fields);
    let raised = record.get("exception").filter(|it| it.is_object());
    Some(Entry {
        level: severity.level,
        critical: severity.critical,
        message: text(record.get("message")?)?,
        logger: record.get("name").and_then(text),
        thread: record.get("thread")?.get("name").and_then(text),
        exception: raised.map(|_| StackTrace::amid(printed).trim_end().into()),
        time: time(record.get("time")?.get("timestamp")?),
        ids,
        fields,
    })
}

/// Removes and returns the first field of these names that has a valid value.
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

/// Whether pino or bunyan wrote it, whose numbers are not Python's levels. Their objects name the process and its host,
/// or have the time in milliseconds.
fn is_of_javascript(fields: &Map<String, Value>) -> bool {
    let has = |name| fields.contains_key(name);
    let is_millis = |time: &Value| time.as_f64().is_some_and(|it| (1e12..1e13).contains(&it));
    (has("pid") && has("hostname")) || fields.get("time").is_some_and(is_millis)
}

fn severity(value: &Value, is_foreign: bool) -> Option<Severity> {
    match value {
        Value::String(name) => Severity::named(name),
        Value::Number(number) if is_foreign => number.as_u64().map(Severity::of_javascript),
        Value::Number(number) => number.as_u64().map(Severity::of),
        _ => None,
    }
}

/// The stack of an error among the fields, which keep it.
fn stack(fields: &Map<String, Value>) -> Option<String> {
    let error = ERROR
        .iter()
        .find_map(|name| fields.get(*name)?.get("stack"));
    error.and_then(text)
}

/// Nanoseconds since the Unix epoch, from a number or from RFC 3339. A time without a zone is ambiguous, and left out.
fn time(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64()?;
            // The number may be in seconds, milliseconds, microseconds or nanoseconds. Only one of these scales gives a
            // time between 2001 and 2286.
            let mut scales = [1e9, 1e6, 1e3, 1.0].iter().map(|scale| number * scale);
            let nanos = scales.find(|nanos| (1e18..1e19).contains(nanos))?;
            Some(nanos as u64)
        }
        Value::String(text) => {
            let (local, offset) = zoned(text)?;
            let time = humantime::parse_rfc3339_weak(&format!("{local}Z")).ok()?;
            let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
            let nanos = i128::try_from(since.as_nanos()).ok()?;
            u64::try_from(nanos - i128::from(offset) * 60_000_000_000).ok()
        }
        _ => None,
    }
}

/// A time and its zone, in minutes east of Greenwich.
fn zoned(text: &str) -> Option<(&str, i32)> {
    if let Some(utc) = text.strip_suffix('Z') {
        return Some((utc, 0));
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let minutes = hours.parse::<u8>().ok()? as i32 * 60 + minutes.parse::<u8>().ok()? as i32;
    match zone.as_bytes()[0] {
        b'+' => Some((local, minutes)),
        b'-' => Some((local, -minutes)),
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
    use tracing::Level;

    use super::*;

    fn read(line: &str) -> Option<Entry> {
        super::parse(line, false)
    }

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
    fn a_line_of_loguru_is_taken_apart() {
        let entry = read(
            r#"{"text": "2026-11-21 12:00:00.500 | WARNING  | shop.cart:add:17 - low\nTraceback (most recent call last):\n\n> File\n\nKeyError: 1\n",
                "record": {"elapsed": {"repr": "0:00:00", "seconds": 0.02}, "exception": {"type": "KeyError", "value": "1", "traceback": true},
                "extra": {"left": 3, "line": "mine", "trace_id": "0af7651916cd43dd8448eb211c80319c"}, "file": {"name": "cart.py", "path": "/srv/cart.py"},
                "function": "add", "level": {"icon": "!", "name": "WARNING", "no": 30}, "line": 17, "message": "low", "module": "cart",
                "name": "shop.cart", "process": {"id": 1, "name": "MainProcess"}, "thread": {"id": 2, "name": "helper"},
                "time": {"repr": "2026-11-21 12:00:00.500000+00:00", "timestamp": 1795262400.5}}}"#,
        )
        .unwrap();
        assert_eq!((entry.level, &*entry.message), (Level::WARN, "low"));
        assert_eq!(entry.logger.as_deref(), Some("shop.cart"));
        assert_eq!(entry.thread.as_deref(), Some("helper"));
        assert_eq!(entry.time, Some(1_795_262_400_500_000_000));
        let trace = "Traceback (most recent call last):\n\n> File\n\nKeyError: 1";
        assert_eq!(entry.exception.as_deref(), Some(trace));
        assert!(entry.ids.trace_id.is_some());
        let fields = serde_json::json!({
            "left": 3, "function": "add", "file": "/srv/cart.py", "line": "mine"
        });
        assert_eq!(Value::Object(entry.fields), fields);
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
        assert_eq!(of(1_795_262_400_500.0), Some(1_795_262_400_500_000_000));
        assert_eq!((of(5.0), of(-1e9), of(1e300)), (None, None, None));
        assert_eq!(time(&"2026-11-21 12:00:00,123".into()), None);
    }

    #[test]
    fn a_time_has_its_zone() {
        let of = |text: &str| time(&text.into());
        let noon = Some(1_795_262_400_000_000_000);
        assert_eq!(of("2026-11-21T12:00:00Z"), noon);
        assert_eq!(of("2026-11-21T13:30:00+01:30"), noon);
        assert_eq!(of("2026-11-21T07:00:00.000-05:00"), noon);
        for text in [
            "2026-11-21T12:00:00",
            "",
            "é",
            "2026-11-21T12:00:00é01:00",
            "+1:2:3",
        ] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }

    #[test]
    fn levels_of_pino_are_its_own() {
        let pino = |level: u64| {
            let line = format!(
                r#"{{"level":{level},"time":1795262400500,"pid":7,"hostname":"h","msg":"m",
                    "err":{{"type":"TypeError","message":"no","stack":"TypeError: no\n    at f"}}}}"#
            );
            read(&line).unwrap()
        };
        let levels = [
            (10, Level::TRACE),
            (20, Level::DEBUG),
            (30, Level::INFO),
            (40, Level::WARN),
            (50, Level::ERROR),
        ];
        for (number, level) in levels {
            assert_eq!((pino(number).level, pino(number).critical), (level, false));
        }
        let fatal = pino(60);
        assert_eq!((fatal.level, fatal.critical), (Level::ERROR, true));
        assert_eq!(fatal.time, Some(1_795_262_400_500_000_000));
        assert_eq!(fatal.exception.as_deref(), Some("TypeError: no\n    at f"));
        assert_eq!(fatal.fields["err"]["message"], "no");
        // Without what tells them apart, the worker's language does.
        let line = r#"{"level":30,"msg":"m"}"#;
        let level = |foreign| super::parse(line, foreign).unwrap().level;
        assert_eq!((level(false), level(true)), (Level::WARN, Level::INFO));
    }

    #[test]
    fn levels_have_the_names_of_many_loggers() {
        for (name, level) in [
            ("silly", Level::TRACE),
            ("verbose", Level::DEBUG),
            ("NOTICE", Level::INFO),
            ("Information", Level::INFO),
            ("warn", Level::WARN),
            ("dpanic", Level::ERROR),
            ("SEVERE", Level::ERROR),
            ("odd", Level::INFO),
        ] {
            let line = format!(r#"{{"level":"{name}","msg":"m"}}"#);
            assert_eq!(read(&line).unwrap().level, level, "{name}");
        }
    }
}
