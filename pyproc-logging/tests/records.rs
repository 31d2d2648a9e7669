//! Records of other processes, handed on as events.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use pyproc_logging::{LogFormat, LoggingBuilder};
use support::{Object, json, logged};
use tracing::{info, info_span, warn};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// 2024-01-15T10:30:45.123456789Z
const TIME: u64 = 1_705_314_645_123_456_789;

fn whole_record() {
    warn!(
        target: "pyproc::python",
        worker_id = 1,
        logger = "shop.cart",
        time_unix_nano = TIME,
        trace_id = TRACE,
        span_id = SPAN,
        trace_flags = "01",
        fields = r#"{"sku": "a-1", "tags": ["x", {"y": null}], "count": 3}"#,
        "no stock"
    );
}

/// A context that is current where something is handed on.
fn elsewhere() -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from(1_u128),
        SpanId::from(2_u64),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    ))
}

fn with_fields(fields: &str) {
    info!(target: "pyproc::output", stream = "stdout", fields, "m");
}

/// All but time, level, message and stream.
fn spread(fields: &str) -> String {
    let line = &json(|| with_fields(fields))[0];
    let start = r#"level="INFO" msg="m" stream="stdout""#;
    line.without_time().strip_prefix(start).unwrap().into()
}

#[test]
fn a_record_has_its_own_time_and_ids_and_its_fields_at_top_level() {
    let line = &json(whole_record)[0];
    assert_eq!(line.text("time"), "2024-01-15T10:30:45.123456789Z");
    assert_eq!(
        line.without_time(),
        format!(
            "level=\"WARN\" msg=\"no stock\" trace_id=\"{TRACE}\" span_id=\"{SPAN}\" trace_flags=\"01\" \
             worker_id=1 logger=\"shop.cart\" sku=\"a-1\" tags=[\"x\",{{\"y\":null}}] count=3"
        )
    );
}

#[test]
fn a_record_without_ids_gets_none_from_where_it_is_handed_on() {
    let lines = json(|| {
        let _context = elsewhere().attach();
        info!(target: "pyproc::python", "record");
        whole_record();
        info!("own");
    });
    assert_eq!(lines[0].without_time(), r#"level="INFO" msg="record""#);
    assert_eq!(lines[1].text("trace_id"), TRACE);
    assert_eq!(lines[2].text("span_id"), "0000000000000002");
}

#[test]
fn without_tracing_a_record_shows_no_ids_either() {
    let lines = logged(LoggingBuilder::default().trace_enabled(false), whole_record).objects();
    assert!(!lines[0].keys().iter().any(|key| key.contains("trace")));
    assert_eq!(lines[0].text("time"), "2024-01-15T10:30:45.123456789Z");
}

#[test]
fn ids_that_make_no_sense_stay_on_the_line_as_fields() {
    let zeros = "0".repeat(32);
    for (trace_id, span_id, trace_flags) in [
        (zeros.as_str(), SPAN, "01"),
        (TRACE, "short", "01"),
        (TRACE, SPAN, "+1"),
        ("é".repeat(16).as_str(), SPAN, "01"),
    ] {
        let line =
            &json(|| info!(target: "pyproc::python", trace_id, span_id, trace_flags, "m"))[0];
        assert_eq!(line.get("trace_id"), None);
        assert_eq!(line.text("trace_id_2"), trace_id);
        assert_eq!(line.text("span_id_2"), span_id);
        assert_eq!(line.text("trace_flags_2"), trace_flags);
    }
}

/// What a printed line says of itself, where the event says nothing of it.
fn printed_elsewhere() {
    with_fields(&format!(
        r#"{{"trace_id": "{TRACE}", "span_id": "{SPAN}", "trace_flags": "01", "worker_id": 7,
            "function_name": "other", "stream": "stderr", "request_id": "r-1"}}"#
    ));
}

#[test]
fn no_member_of_the_fields_says_where_a_record_comes_from() {
    let of = |format| {
        let builder = LoggingBuilder::default().format(format);
        logged(builder, printed_elsewhere).objects().remove(0)
    };
    for line in [of(LogFormat::Json), of(LogFormat::Bunyan)] {
        assert_eq!(line.text("stream"), "stdout");
        for place in [
            "trace_id",
            "span_id",
            "trace_flags",
            "worker_id",
            "function_name",
        ] {
            assert_eq!(line.get(place), None, "{place}");
        }
        assert_eq!(line.text("trace_id_2"), TRACE);
        assert_eq!(line.text("function_name_2"), "other");
        assert_eq!(line.text("stream_2"), "stderr");
        // Where the record has none of its own, this is data as any other.
        assert_eq!(line.text("request_id"), "r-1");
    }
    let text = LoggingBuilder::default().format(LogFormat::Text);
    let text = logged(text, printed_elsewhere).text();
    assert!(
        text.contains(" function_name_2=other") && !text.contains(" function_name="),
        "{text}"
    );
}

#[test]
fn of_another_target_it_is_a_plain_event() {
    let lines = json(
        || info!(target: "pyproc::other", time_unix_nano = TIME, trace_id = TRACE, fields = "{}", "m"),
    );
    assert_eq!(
        lines[0].without_time(),
        format!(
            "level=\"INFO\" msg=\"m\" time_unix_nano={TIME} fields=\"{{}}\" trace_id_2=\"{TRACE}\""
        )
    );
}

#[test]
fn an_event_about_a_call_has_the_ids_of_its_call_or_else_of_the_current_span() {
    let lines = json(|| {
        let _context = elsewhere().attach();
        info!(target: "pyproc::pool", trace_id = TRACE, span_id = SPAN, "traced");
        info!(target: "pyproc::pool", "not");
    });
    assert_eq!(
        lines[0].without_time(),
        format!(
            "level=\"INFO\" msg=\"traced\" trace_id=\"{TRACE}\" span_id=\"{SPAN}\" trace_flags=\"00\""
        )
    );
    assert_eq!(lines[1].text("span_id"), "0000000000000002");
}

#[test]
fn a_name_that_is_taken_is_changed_as_that_of_any_field() {
    let lines = json(|| {
        let _span = info_span!("s", sku = "span", stream = "stdout").entered();
        with_fields(r#"{"stream": "mine", "level": 5, "sku": "a", "sku": "b", "sku_2": 1}"#);
    });
    assert_eq!(
        lines[0].without_time(),
        "level=\"INFO\" msg=\"m\" stream=\"stdout\" sku=\"a\" sku_2=1 \
         stream_2=\"mine\" level_2=5 sku_3=\"b\" sku_4=\"span\""
    );
}

#[test]
fn what_is_no_object_stays_a_text() {
    for text in [
        "",
        "{",
        "[1]",
        "3",
        "{\"a\": 1} x",
        "{\"a\": NaN}",
        "{\"a\": \"\n\"}",
    ] {
        let line = &json(|| with_fields(text))[0];
        assert_eq!(line.text("fields"), text);
    }
    let long = "{".repeat(1000);
    let builder = LoggingBuilder::default().max_value_bytes(64);
    let line = &logged(builder, || with_fields(&long)).objects()[0];
    assert_eq!(line.text("fields"), format!("{}…[cut]", "{".repeat(64)));
}

#[test]
fn numbers_stay_digit_by_digit_what_they_were() {
    let number = "123456789012345678901234567890.10";
    assert_eq!(
        spread(&format!("{{\"a\": {number}}}")),
        format!(" a={number}")
    );
}

#[test]
fn no_value_can_break_its_line_or_repeat_a_key() {
    let json = "{\n \"a\": {\"b\" : \"\u{2028}\u{85}\u{7f}\",\r\n\"b\":[ 1,\t2 ], \"b_2\": {}}}";
    let capture = logged(LoggingBuilder::default(), || with_fields(json));
    let line = &capture.lines()[0];
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'));
    let inner = Object::parse(line).0.pop().unwrap().1;
    assert_eq!(
        Object::parse(inner.get()).without_time(),
        r#"b="\u2028\u0085\u007f" b_3=[1,2] b_2={}"#
    );
}

#[test]
fn lone_surrogates_are_replaced() {
    let line = &json(|| with_fields(r#"{"name\udcff": "\ud800x", "in": ["\udc80"]}"#))[0];
    let text = line.without_time();
    assert!(
        !text.contains("\\u") && text.contains("\u{fffd}x"),
        "{text}"
    );
}

#[test]
fn a_value_over_the_limit_is_cut_whatever_it_is() {
    let digits = "1".repeat(200);
    let json =
        format!(r#"{{"text": "{digits}", "number": {digits}, "list": [{digits}], "short": 1}}"#);
    let builder = LoggingBuilder::default().max_value_bytes(100);
    let line = &logged(builder, || with_fields(&json)).objects()[0];
    let ones = "1".repeat(100);
    assert_eq!(line.text("text"), format!("{ones}…[cut]"));
    assert_eq!(line.text("number"), format!("{ones}…[cut]"));
    assert_eq!(line.text("list"), format!("[{}…[cut]", &ones[1..]));
    assert_eq!(line.get("short").unwrap(), 1);
}

#[test]
fn what_is_nested_too_deeply_is_cut() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(
        spread(&format!("{{\"a\": {}}}", nested(32))),
        format!(" a={}", nested(32))
    );
    let bottomless = spread(&format!("{{\"a\": {}}}", nested(10_000)));
    let brackets = ("[".repeat(32), "]".repeat(32));
    assert_eq!(
        bottomless,
        format!(" a={}\"…[cut]\"{}", brackets.0, brackets.1)
    );
}

#[test]
fn an_object_of_very_many_members_stays_in_one_piece() {
    let members: Vec<_> = (0..257)
        .map(|number| format!("\"m{number}\":{number}"))
        .collect();
    let json = format!("{{{}}}", members.join(","));
    assert_eq!(spread(&json), format!(" fields={json}"));
}

fn secret_fields() {
    with_fields(
        r#"{"password": "hunter2", "user": {"name": "ann", "Password": ["hunter2"]},
            "headers": ["Bearer hunter2", "plain"], "pin": 4711, "many": {"pins": [4711]}}"#,
    );
}

fn hiding(format: LogFormat) -> String {
    let builder = LoggingBuilder::default()
        .format(format)
        .redact(["password"])
        .redact_if(|_, value| value.starts_with("Bearer ") || value == "4711");
    logged(builder, secret_fields).text()
}

#[test]
fn secrets_are_hidden_at_any_depth() {
    let line = hiding(LogFormat::Json);
    let expected = r#""password":"[redacted]","user":{"name":"ann","Password":"[redacted]"},"headers":["[redacted]","plain"],"pin":"[redacted]","many":{"pins":["[redacted]"]}}"#;
    assert!(line.trim_end().ends_with(expected), "{line}");
    let text = hiding(LogFormat::Text);
    assert!(
        !text.contains("hunter2") && !text.contains("4711"),
        "{text}"
    );
}

#[test]
fn in_text_values_look_like_those_of_any_field() {
    let text = logged(
        LoggingBuilder::default().format(LogFormat::Text),
        whole_record,
    )
    .text();
    assert_eq!(
        text,
        format!(
            "2024-01-15T10:30:45.123456789Z  WARN pyproc::python: no stock worker_id=1 logger=shop.cart \
             sku=a-1 tags=\"[\\\"x\\\",{{\\\"y\\\":null}}]\" count=3 trace_id={TRACE} span_id={SPAN}\n"
        )
    );
}

#[cfg(feature = "bunyan")]
mod bunyan {
    use super::*;

    fn line(run: impl FnOnce()) -> Object {
        let builder = LoggingBuilder::default().format(LogFormat::Bunyan);
        logged(builder, run).objects().remove(0)
    }

    #[test]
    fn a_record_has_its_time_and_its_fields() {
        let line = line(whole_record);
        assert_eq!(line.text("time"), "2024-01-15T10:30:45.123456789Z");
        assert_eq!(line.get("level").unwrap(), 40);
        assert_eq!(line.text("trace_id"), TRACE);
        let end = r#"sku="a-1" tags=["x",{"y":null}] count=3"#;
        let all = line.without_time();
        assert!(all.ends_with(end), "{all}");
        for gone in ["fields", "time_unix_nano"] {
            assert_eq!(line.get(gone), None);
        }
    }

    #[test]
    fn what_is_taken_or_no_object_is_not_lost() {
        let line = line(|| with_fields(r#"{"pid": 1, "stream": "mine", "pid": 2}"#));
        assert_eq!(line.get("pid_2").unwrap(), 1);
        assert_eq!(line.get("pid_3").unwrap(), 2);
        assert_eq!(line.text("stream_2"), "mine");
        let line = super::bunyan::line(|| with_fields("{"));
        assert_eq!(line.text("fields"), "{");
    }

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let line = hiding(LogFormat::Bunyan);
        assert!(
            !line.contains("hunter2") && !line.contains("4711"),
            "{line}"
        );
    }
}
