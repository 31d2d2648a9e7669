//! Logs that lead to the trace: what Rust and Python say about a call, in one stream. The Python in
//! `PYPROC_PYTHON_EXEC`, or `python3`, must have the package `pyproc-worker`; `PYPROC_TEST_CORES` names its
//! loops.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "logs/stream.rs"]
mod stream;

use std::{collections::BTreeSet, env};

use pyproc_pool::Error;
use serde_json::{Value, json};
use stream::{Line, Stream, is_strict_json};
use tokio::task::JoinSet;
use tracing::{Instrument, info, info_span};

const IDS: [&str; 3] = ["trace_id", "span_id", "trace_flags"];

/// What `speak` in the worker says.
const SAID: [&str; 5] = ["logged", "printed", "to stderr", "caught", "raised"];

fn cores() -> Vec<String> {
    let cores = env::var("PYPROC_TEST_CORES").unwrap_or("python".into());
    cores.split(',').map(Into::into).collect()
}

#[tokio::test]
async fn each_line_of_a_call_has_the_ids_of_its_exported_span() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        let mut calls = Vec::new();
        for function in [
            "plain",
            "fails",
            "concurrent",
            "fails_concurrently",
            "threaded",
            "to_thread",
        ] {
            let place = format!("{core}/{function}");
            let request = info_span!("request", function);
            async {
                info!("{place}: before");
                let answer = stream.call(function, &place).await;
                assert_eq!(answer.is_err(), function.starts_with("fails"), "{answer:?}");
                info!("{place}: after");
            }
            .instrument(request)
            .await;
            calls.push((function, place));
        }
        let (lines, spans) = stream.end().await;

        for (function, place) in calls {
            let request = spans.request(function);
            let execute = spans.execute(function);
            assert_eq!(request.trace, execute.trace, "{place}");
            let of_call: Vec<&Line> = lines.iter().filter(|line| line.is_about(&place)).collect();
            for said in ["before", "after"] {
                let line = the_only(&of_call, |line| {
                    line.message() == format!("{place}: {said}")
                });
                assert_eq!(line.ids(), request, "{line:?}");
            }
            for said in SAID {
                let line = the_only(&of_call, |line| line.says(&format!("{place}: {said}")));
                assert_eq!(line.ids(), execute, "{line:?}");
                assert_eq!(line.text("function_name"), Some(function), "{line:?}");
                assert_eq!(line.0.get("worker_id"), Some(&json!(0)), "{line:?}");
            }
            let completed = the_only(&lines.iter().collect::<Vec<_>>(), |line| {
                line.text("target") == Some("pyproc::pool")
                    && line.text("function_name") == Some(function)
                    && line.0.contains_key("duration_ms")
            });
            assert_eq!(completed.ids().trace, request.trace, "{completed:?}");
        }
    }
}

#[tokio::test]
async fn a_call_outside_of_spans_has_a_trace_of_its_own() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        stream.call("plain", "here").await.unwrap();
        let (lines, spans) = stream.end().await;
        let completed = lines.iter().find(|line| line.message() == "call completed");
        assert_eq!(completed.unwrap().ids(), spans.call("plain"));
        let logged = lines.iter().find(|line| line.message() == "here: logged");
        assert_eq!(logged.unwrap().ids(), spans.execute("plain"));
        assert_eq!(spans.call("plain").trace, spans.execute("plain").trace);
    }
}

#[tokio::test]
async fn calls_at_the_same_time_keep_their_lines_apart() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        let mut calls = JoinSet::new();
        for number in 0..32 {
            let function = ["concurrent", "to_thread"][number % 2];
            let place = format!("{function} {number}");
            let request = info_span!("request", function = place);
            let pool = stream.pool.clone();
            calls.spawn(
                async move { pool.call::<_, Value>(function, &place).await }.instrument(request),
            );
        }
        for answer in calls.join_all().await {
            answer.unwrap();
        }
        let (lines, spans) = stream.end().await;

        for number in 0..32 {
            let place = format!("{} {number}", ["concurrent", "to_thread"][number % 2]);
            let request = spans.request(&place);
            let of_call: Vec<_> = lines.iter().filter(|line| line.is_about(&place)).collect();
            for said in SAID {
                let line = the_only(&of_call, |line| line.says(&format!("{place}: {said}")));
                assert_eq!(line.ids().trace, request.trace, "{line:?}");
            }
        }
    }
}

#[tokio::test]
async fn records_come_as_if_rust_had_logged_them() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        stream.call("plain", "here").await.unwrap();
        let (lines, _) = stream.end().await;

        let about: Vec<_> = lines.iter().filter(|line| line.is_about("here")).collect();
        let logged = the_only(&about, |line| line.says("here: logged"));
        assert_eq!(logged.text("level"), Some("INFO"));
        assert_eq!(logged.text("logger"), Some("shop"));
        assert_eq!(logged.text("thread"), Some("MainThread"));
        assert_eq!(logged.0.get("nested"), Some(&json!({"n": 1})));
        assert_eq!(logged.text("level_2"), Some("mine"));

        let caught = the_only(&about, |line| line.says("here: caught"));
        assert_eq!(caught.text("level"), Some("ERROR"));
        let exception = caught.text("exception").unwrap();
        assert!(exception.starts_with("Traceback"), "{exception}");
        assert!(
            exception.contains("KeyError: 'here: raised'"),
            "{exception}"
        );

        // A traceback that was printed is one line, too.
        let printed = the_only(&about, |line| line.says("here: raised"));
        assert_eq!(printed.text("level"), Some("ERROR"));
        assert_eq!(printed.text("stream"), Some("stderr"));
        let printed = the_only(&about, |line| line.says("here: printed"));
        assert_eq!(printed.text("stream"), Some("stdout"));
    }
}

#[tokio::test]
async fn printed_json_is_taken_apart() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        stream.call("json_lines", "here").await.unwrap();
        let (lines, spans) = stream.end().await;

        let all: Vec<_> = lines.iter().collect();
        let line = the_only(&all, |line| line.message() == "here: of structlog");
        assert_eq!(line.text("level"), Some("WARN"));
        assert_eq!(line.text("logger"), Some("till"));
        assert_eq!(line.text("time"), Some("2024-01-15T10:30:45.500000000Z"));
        assert_eq!(line.0.get("sku"), Some(&json!({"id": "a-1"})));
        assert_eq!(line.ids(), spans.execute("json_lines"));
        let line = the_only(&all, |line| line.message() == "here: of a formatter");
        assert_eq!(line.text("level"), Some("ERROR"));
        assert_eq!(line.text("logger"), Some("till"));
        assert_eq!(line.ids(), spans.execute("json_lines"));
    }
}

#[tokio::test]
async fn what_is_logged_while_the_script_is_imported_is_not_lost() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        let (lines, _) = stream.end().await;
        let all: Vec<_> = lines.iter().filter(|it| it.is_about("import")).collect();
        assert_eq!(all.len(), 2, "{all:?}");
        let logged = the_only(&all, |line| line.message() == "import: logged");
        assert_eq!(logged.text("level"), Some("INFO"));
        assert_eq!(logged.text("logger"), Some("shop"));
        let failed = the_only(&all, |line| line.message() == "import: failed");
        assert_eq!(failed.text("level"), Some("ERROR"));
        assert_eq!(failed.text("logger"), Some("library"));
    }
}

#[tokio::test]
async fn records_of_loguru_are_one_line_each_with_level_and_ids() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        stream.call("of_loguru", "here").await.unwrap();
        let (lines, spans) = stream.end().await;

        let all: Vec<_> = lines.iter().filter(|it| it.is_about("here")).collect();
        for (message, level, stream) in [
            ("here: low", "WARN", "stderr"),
            ("here: caught", "ERROR", "stderr"),
            ("here: caught again", "ERROR", "stdout"),
        ] {
            let line = the_only(&all, |line| line.message() == message);
            assert_eq!(line.text("level"), Some(level));
            assert_eq!(line.text("logger"), Some("__main__"));
            assert_eq!(line.text("stream"), Some(stream));
            assert_eq!(line.text("function"), Some("of_loguru"));
            assert_eq!(line.ids(), spans.execute("of_loguru"));
            if level == "ERROR" {
                let trace = line.text("exception").unwrap();
                assert!(trace.starts_with("Traceback"), "{trace}");
                assert!(trace.contains("KeyError: 'here: raised'"), "{trace}");
            }
        }
        // `call completed` is the fourth.
        assert!(
            lines.iter().all(|line| line.message() != "note"),
            "{lines:?}"
        );
        let again = the_only(&all, |line| line.message() == "here: caught again");
        assert_eq!(again.text("sku"), Some("a-1"));
        assert_eq!(again.text("text"), None);
    }
}

#[tokio::test]
async fn lines_of_libraries_have_their_severity_and_ids() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        stream.call("of_libraries", "here").await.unwrap();
        let (lines, spans) = stream.end().await;

        let all: Vec<_> = lines.iter().filter(|it| it.is_about("here")).collect();
        assert_eq!(all.len(), 5, "{all:#?}");
        for (end, level) in [
            ("here: alone", "WARN"),
            ("here: of glog", "WARN"),
            ("here: of onnxruntime", "ERROR"),
            ("here: 100%", "INFO"),
        ] {
            let line = the_only(&all, |line| line.message() == end);
            assert_eq!(line.text("level"), Some(level));
            assert_eq!(line.ids(), spans.execute("of_libraries"));
        }
        let warning = the_only(&all, |line| line.text("logger") == Some("py.warnings"));
        assert_eq!(warning.text("level"), Some("WARN"));
        assert_eq!(warning.ids(), spans.execute("of_libraries"));
        assert!(
            warning
                .message()
                .contains(": UserWarning: here: old\n  warnings.warn(")
        );
        let alone = the_only(&all, |line| line.text("logger") == Some("alone"));
        assert_eq!(alone.text("sku"), Some("a-1"));
    }
}

#[tokio::test]
async fn lines_below_python_have_their_severity_and_a_crash_is_an_error() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        let answer = stream.call("of_libraries_below", "here").await;
        let error = answer.unwrap_err().to_string();
        assert!(
            error.contains("SIGSEGV") || error.contains("signal 11"),
            "{error}"
        );
        let (lines, _) = stream.end().await;

        let said: Vec<_> = lines
            .iter()
            .filter(|it| it.text("stream").is_some())
            .collect();
        for (message, level) in [
            ("here: of glog", "WARN"),
            ("/srv/a.py:17: UserWarning: here: old\n  f()", "WARN"),
            ("here: 100%", "INFO"),
            (
                "terminate called after throwing an instance of 'here: E'\n  what():  no",
                "ERROR",
            ),
            ("free(): invalid pointer", "ERROR"),
            ("Fatal Python error: Segmentation fault", "ERROR"),
        ] {
            let line = the_only(&said, |line| line.message() == message);
            assert_eq!(line.text("level"), Some(level), "{line:?}");
        }
        let fatal = the_only(&said, |line| line.message().starts_with("Fatal"));
        let stack = fatal.text("exception").unwrap();
        assert!(stack.contains("in of_libraries_below"), "{stack}");
    }
}

#[tokio::test]
async fn durations_have_microseconds_and_nothing_below() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        for _ in 0..50 {
            stream.call("plain", "here").await.unwrap();
        }
        let (text, calls) = (stream.end_as_text().await, "\"duration_ms\":");
        assert!(text.matches(calls).count() >= 50);
        for rest in text.split(calls).skip(1) {
            let number = rest.split([',', '}']).next().unwrap();
            let digits = number.split_once('.').map_or("", |(_, digits)| digits);
            assert!(digits.len() <= 3, "{number}");
        }
    }
}

#[tokio::test]
async fn lines_outside_of_calls_have_no_ids() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        info!("outside: in Rust");
        stream
            .call("outside", "outside")
            .instrument(info_span!("request"))
            .await
            .unwrap();
        let (lines, _) = stream.end().await;

        let outside: Vec<_> = lines
            .iter()
            .filter(|line| line.is_about("outside"))
            .collect();
        for said in SAID.iter().chain(&["in Rust"]) {
            let line = the_only(&outside, |line| line.says(&format!("outside: {said}")));
            assert!(!IDS.iter().any(|key| line.0.contains_key(*key)), "{line:?}");
        }
        // What the pool says of its workers, too.
        let started = lines
            .iter()
            .filter(|line| line.text("target") == Some("pyproc::pool"));
        let started: Vec<_> = started
            .filter(|line| !line.0.contains_key("duration_ms"))
            .collect();
        assert!(!started.is_empty());
        for line in started {
            assert!(!line.0.contains_key("trace_id"), "{line:?}");
        }
    }
}

#[tokio::test]
async fn a_request_id_is_on_every_line_and_readable_in_the_worker() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        let id: Value = async {
            info!("here: in Rust");
            stream.call("request_id", "here").await.unwrap()
        }
        .instrument(info_span!("request", request_id = "r/1 é,;"))
        .await;
        assert_eq!(id, "r/1 é,;");
        let none = stream.call("request_id", "there").await.unwrap();
        assert_eq!(none, Value::Null);
        let (lines, _) = stream.end().await;

        let of_request = |line: &&Line| line.text("request_id") == Some("r/1 é,;");
        let messages: BTreeSet<_> = lines.iter().filter(of_request).map(Line::message).collect();
        for message in ["here: in Rust", "here: logged", "call completed"] {
            assert!(messages.contains(message), "{messages:?}");
        }
        let there = lines
            .iter()
            .find(|line| line.message() == "there: logged")
            .unwrap();
        assert_eq!(there.text("request_id"), None);
    }
}

#[tokio::test]
async fn a_request_id_needs_no_trace() {
    for core in cores() {
        let stream = Stream::without_traces(&core).await;
        for function in ["plain", "concurrent", "threaded", "to_thread"] {
            let request = info_span!("request", request_id = function);
            let call = stream.call(function, function).instrument(request);
            call.await.unwrap();
        }
        let (lines, _) = stream.end().await;
        for function in ["plain", "concurrent", "threaded", "to_thread"] {
            let of_call: Vec<_> = lines
                .iter()
                .filter(|line| line.is_about(function))
                .collect();
            for said in SAID {
                let line = the_only(&of_call, |line| line.says(&format!("{function}: {said}")));
                assert_eq!(line.text("request_id"), Some(function), "{line:?}");
                assert!(!line.0.contains_key("trace_id"), "{line:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_worker_wrote_before_it_died_comes_before_the_death() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        let answer = stream.call("dies", "here").await;
        assert!(matches!(answer, Err(Error::WorkerDied(_))), "{answer:?}");
        // The next worker is there, so the first one's death has been told.
        stream.call("plain", "next").await.unwrap();
        let (lines, _) = stream.end().await;

        let place = |says: &dyn Fn(&Line) -> bool| {
            let found: Vec<_> = (0..lines.len()).filter(|at| says(&lines[*at])).collect();
            assert_eq!(found.len(), 1, "{found:?} in {lines:#?}");
            found[0]
        };
        let death = place(&|line| {
            line.text("target") == Some("pyproc::pool") && line.message().contains("died")
        });
        for said in SAID.iter().chain(&["straight to stderr"]) {
            let line = place(&|line| line.is_about("here") && line.says(&format!("here: {said}")));
            assert!(line < death, "{said}: {line} after {death}");
        }
    }
}

#[tokio::test]
async fn python_reads_every_line_strictly() {
    for core in cores() {
        let stream = Stream::start(&core).await;
        for function in [
            "plain",
            "fails",
            "concurrent",
            "outside",
            "dies",
            "to_thread",
        ] {
            let place =
                "a\u{2028}b\u{0}\u{1b}[31m\"\\ \u{feff}é\u{10ffff}\n{\"level\": 1, \"level\": 2}";
            let _ = stream
                .call(function, place)
                .instrument(info_span!("request", request_id = place, level = 1))
                .await;
        }
        let text = stream.end_as_text().await;
        assert!(text.lines().count() > 20, "{text}");
        is_strict_json(&text);
    }
}

fn the_only<'a>(lines: &[&'a Line], is_it: impl Fn(&Line) -> bool) -> &'a Line {
    let found: Vec<_> = lines.iter().filter(|line| is_it(line)).collect();
    assert_eq!(found.len(), 1, "{found:#?} of {lines:#?}");
    found[0]
}
