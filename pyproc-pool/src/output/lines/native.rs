//! Lines of native libraries: their loggers', and the last lines before a fatal signal.

use serde_json::{Map, Value, json};

use super::{Entry, Severity, continuation::Continuation};

/// Parses a line of a native library. Returns the entry, and which lines may follow it.
pub(super) fn parse(line: &str) -> Option<(Entry, Option<Continuation>)> {
    let line = without_colors(line);
    let logged = of_glog(line)
        .or_else(|| of_tensorflow(line))
        .or_else(|| of_onnxruntime(line));
    if let Some(Logged { severity, entry }) = logged {
        let entry = Entry {
            level: severity.level,
            critical: severity.critical,
            ..entry
        };
        // A fatal line of glog comes before the stack, and ends the process.
        return Some((entry, severity.critical.then_some(Continuation::Stack)));
    }
    let more = match line {
        _ if line.starts_with("terminate called ") => Some(Continuation::What),
        _ if is_last_word(line) => None,
        _ => return None,
    };
    let entry = Entry {
        level: tracing::Level::ERROR,
        ..Entry::plain(line)
    };
    Some((entry, more))
}

struct Logged {
    severity: Severity,
    entry: Entry,
}

/// `W0101 12:00:00.000000   123 model.cc:17] the message`, as glog, Abseil and gRPC write it, and absl in Python.
fn of_glog(line: &str) -> Option<Logged> {
    let severity = letter(line.get(..1)?)?;
    let (date, rest) = line.get(1..)?.split_once(' ')?;
    let (time, rest) = rest.split_once(' ')?;
    let (thread, rest) = rest.trim_start().split_once(' ')?;
    let is_head = date.len() == 4 && is_number(date) && is_time(time) && is_number(thread);
    if !is_head {
        return None;
    }
    let (place, message) = rest.split_once("] ")?;
    Some(Logged {
        severity,
        entry: entry(place_of(place)?, message),
    })
}

/// `2026-11-21 12:00:00.123456: W tensorflow/core/a.cc:17] the message`.
fn of_tensorflow(line: &str) -> Option<Logged> {
    let (date, rest) = line.split_once(' ')?;
    let (time, rest) = rest.split_once(": ")?;
    let (severity, rest) = rest.split_once(' ')?;
    if !is_date(date) || !is_time(time) {
        return None;
    }
    let (place, message) = rest.split_once("] ")?;
    Some(Logged {
        severity: letter(severity)?,
        entry: entry(place_of(place)?, message),
    })
}

/// `2026-11-21 12:00:00.123456789 [W:onnxruntime:Default, session.cc:17 Initialize] the message`.
fn of_onnxruntime(line: &str) -> Option<Logged> {
    let (time, rest) = line.split_once(" [")?;
    let (date, time) = time.split_once(' ')?;
    if !is_date(date) || !is_time(time) {
        return None;
    }
    let (head, message) = rest.split_once("] ")?;
    let (source, place) = head.split_once(", ")?;
    let (severity, logger) = source.split_once(':')?;
    let (place, function) = place.split_once(' ')?;
    let mut fields = place_of(place)?;
    fields.insert("function".into(), function.into());
    let logger = logger.trim_end_matches(':');
    Some(Logged {
        severity: letter(severity)?,
        entry: Entry {
            logger: Some(logger.into()),
            ..entry(fields, message)
        },
    })
}

fn entry(fields: Map<String, Value>, message: &str) -> Entry {
    Entry {
        fields,
        ..Entry::plain(message.trim_start())
    }
}

/// `model.cc:17`
fn place_of(place: &str) -> Option<Map<String, Value>> {
    let (file, line) = place.rsplit_once(':')?;
    let line: u32 = line.parse().ok()?;
    let is_file = !file.is_empty() && !file.contains(char::is_whitespace);
    is_file.then(|| Map::from_iter([("file".into(), file.into()), ("line".into(), json!(line))]))
}

fn letter(severity: &str) -> Option<Severity> {
    let name = match severity {
        "V" => "debug",
        "I" => "info",
        "W" => "warning",
        "E" => "error",
        "F" => "fatal",
        _ => return None,
    };
    Severity::named(name)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|it| it.is_ascii_digit() || it == b'-')
}

/// A time with a fraction. Before Abseil is set up, the seconds are those since 1970.
fn is_time(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.');
    text.matches(':').count() == 2 && text.contains('.') && text.bytes().all(is_part)
}

/// onnxruntime colours its lines whether a terminal reads them or not.
fn without_colors(line: &str) -> &str {
    let Some((codes, rest)) = line.strip_prefix("\x1b[").and_then(|it| it.split_once('m')) else {
        return line;
    };
    if !codes.bytes().all(|it| it.is_ascii_digit() || it == b';') {
        return line;
    }
    let end = rest.strip_suffix("\x1b[m").or(rest.strip_suffix("\x1b[0m"));
    end.unwrap_or(rest)
}

/// Whether glibc, the runtime of C++ or a shell reports that a fatal signal ends the process.
fn is_last_word(line: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "free(): ",
        "malloc(): ",
        "realloc(): ",
        "calloc(): ",
        "malloc_consolidate(): ",
        "munmap_chunk(): ",
        "mremap_chunk(): ",
        "tcache_thread_shutdown(): ",
        "double free or corruption",
        "corrupted size vs. prev_size",
        "corrupted double-linked list",
        "Fatal glibc error: ",
        "libc++abi: terminating",
        "pure virtual method called",
    ];
    const SIGNALS: [&str; 5] = [
        "Aborted",
        "Bus error",
        "Floating point exception",
        "Illegal instruction",
        "Segmentation fault",
    ];
    let is_said = BEGINNINGS.iter().any(|it| line.starts_with(it))
        || line.strip_suffix(" (core dumped)").is_some()
        || SIGNALS.contains(&line);
    let is_check = line.starts_with("*** ")
        && (line.ends_with(" ***: terminated") || line.ends_with(" ***"))
        && (line.contains(" detected ") || line.starts_with("*** Error in "));
    let is_assertion = line.contains(": Assertion `") && line.ends_with("' failed.");
    is_said || is_check || is_assertion || line.contains(" malloc: *** error for object ")
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn read(line: &str) -> Entry {
        super::parse(line).unwrap().0
    }

    #[test]
    fn lines_of_glog_and_its_kin_have_their_severity_and_place() {
        let place = json!({"file": "model.cc", "line": 17});
        for (line, level) in [
            (
                "I0101 12:00:00.000000 123 model.cc:17] loaded: it [1] ",
                Level::INFO,
            ),
            (
                "W0101 12:00:00.000000   123 model.cc:17] loaded: it [1] ",
                Level::WARN,
            ),
            (
                "E0000 00:00:1700000000.123456 123 model.cc:17]  loaded: it [1] ",
                Level::ERROR,
            ),
            (
                "F1121 12:00:00.123456789 123 model.cc:17] loaded: it [1] ",
                Level::ERROR,
            ),
            (
                "2026-11-21 12:00:00.123456: W model.cc:17] loaded: it [1] ",
                Level::WARN,
            ),
        ] {
            let entry = read(line);
            assert_eq!(entry.level, level, "{line}");
            assert_eq!(entry.critical, line.starts_with('F'), "{line}");
            assert_eq!(entry.message, "loaded: it [1] ");
            assert_eq!(Value::Object(entry.fields), place);
        }
    }

    #[test]
    fn lines_of_onnxruntime_have_their_severity_with_and_without_colors() {
        let plain = "2026-11-21 12:00:00.123456789 [W:onnxruntime:, session.cc:17 Verify] slow [1]";
        for line in [
            plain.to_owned(),
            format!("\x1b[0;93m{plain}\x1b[m"),
            format!("\x1b[1;31m{plain}\x1b[0m"),
        ] {
            let entry = read(&line);
            assert_eq!((entry.level, entry.critical), (Level::WARN, false));
            assert_eq!(entry.message, "slow [1]");
            assert_eq!(entry.logger.as_deref(), Some("onnxruntime"));
            let fields = json!({"file": "session.cc", "line": 17, "function": "Verify"});
            assert_eq!(Value::Object(entry.fields), fields);
        }
        let named = "2026-11-21 12:00:00.123456 [E:onnxruntime:Default, a.cc:1 operator()] no";
        assert_eq!(read(named).logger.as_deref(), Some("onnxruntime:Default"));
        assert_eq!(read(named).level, Level::ERROR);
    }

    #[test]
    fn what_is_printed_before_a_fatal_signal_is_an_error() {
        for line in [
            "free(): invalid pointer",
            "malloc(): corrupted top size",
            "double free or corruption (fasttop)",
            "*** stack smashing detected ***: terminated",
            "*** Error in `python': free(): invalid pointer: 0x0000 ***",
            "terminate called after throwing an instance of 'std::bad_alloc'",
            "python3: a.c:12: f: Assertion `x > 0' failed.",
            "Fatal glibc error: malloc.c:2599 (sysmalloc): assertion failed: x",
            "Segmentation fault",
            "/srv/run.sh: line 3: 17 Aborted (core dumped) python worker.py (core dumped)",
            "python(17,0x1f) malloc: *** error for object 0x1: pointer being freed was not allocated",
        ] {
            let entry = read(line);
            assert_eq!((entry.level, &*entry.message), (Level::ERROR, line));
        }
    }

    #[test]
    fn other_lines_are_not_taken_for_those_of_libraries() {
        for line in [
            "",
            "W",
            "é0101 12:00:00.000000 123 model.cc:17] x",
            "W0101 12:00:00 123 model.cc:17] x",
            "W01 12:00:00.000000 123 model.cc:17] x",
            "X0101 12:00:00.000000 123 model.cc:17] x",
            "W0101 12:00:00.000000 123 model.cc] x",
            "W0101 12:00:00.000000 123 a model.cc:17] x",
            "2026-11-21 12:00:00.123456: W model.cc:x] x",
            "2026-11-21 12:00:00.123 [W:onnxruntime:Default] x",
            "2026-11-21 12:00:00.123 [W] x",
            "\x1b[93mplain\x1b[m",
            "\x1b[",
            "Segmentation faults: 0",
            "*** done ***",
            "free() is a function",
        ] {
            assert!(super::parse(line).is_none(), "{line}");
        }
    }
}
