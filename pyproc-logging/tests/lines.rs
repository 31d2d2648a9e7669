//! What is on a JSON line.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{error, fmt};

use pyproc_logging::{Levels, LoggingBuilder, request_span};
use serde_json::json as value;
use support::{json, logged};
use tracing::{debug, error, field::Empty, info, info_span, trace, warn};

#[test]
fn the_keys_come_in_their_order_and_the_time_is_utc_with_nanoseconds() {
    let lines = json(|| {
        info!(
            function_name = "predict",
            duration_ms = 45,
            "request completed"
        )
    });
    assert_eq!(
        lines[0].keys(),
        ["time", "level", "msg", "function_name", "duration_ms"]
    );
    assert_eq!(
        lines[0].without_time(),
        r#"level="INFO" msg="request completed" function_name="predict" duration_ms=45"#
    );
    let time = lines[0].text("time");
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000000Z");
}

#[test]
fn each_level_has_its_name() {
    let lines = logged(LoggingBuilder::default().level(Levels::TRACE), || {
        error!("e");
        warn!("w");
        info!("i");
        debug!("d");
        trace!("t");
    })
    .objects();
    let levels: Vec<_> = lines.iter().map(|line| line.text("level")).collect();
    assert_eq!(levels, ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]);
}

#[test]
fn an_event_without_a_message_has_an_empty_one() {
    assert_eq!(
        json(|| info!(a = 1))[0].without_time(),
        r#"level="INFO" msg="" a=1"#
    );
}

#[test]
fn fields_of_the_event_come_first_then_those_of_the_spans_from_the_inside_out() {
    let lines = json(|| {
        let _outer = info_span!("outer", outer = 1).entered();
        let _inner = info_span!("inner", inner = 2).entered();
        info!(event = 3, "m");
    });
    assert_eq!(
        lines[0].without_time(),
        r#"level="INFO" msg="m" event=3 inner=2 outer=1"#
    );
}

#[test]
fn a_request_id_is_on_every_line_of_its_request_and_on_no_other() {
    let lines = json(|| {
        let span = request_span!("r-1", tenant = "acme", user_id = Empty);
        span.in_scope(|| {
            info!("first");
            info_span!("child").in_scope(|| {
                // Known only when the child is open already.
                span.record("user_id", 7);
                warn!("second");
            });
        });
        info!("after");
    });
    let rest: Vec<_> = lines.iter().map(|line| line.without_time()).collect();
    assert_eq!(
        rest,
        [
            r#"level="INFO" msg="first" request_id="r-1" tenant="acme""#,
            r#"level="WARN" msg="second" request_id="r-1" tenant="acme" user_id=7"#,
            r#"level="INFO" msg="after""#,
        ]
    );
}

#[test]
fn a_value_that_is_recorded_again_replaces_the_first_at_its_place() {
    let lines = json(|| {
        let span = info_span!("s", a = 1, b = Empty, c = 3).entered();
        span.record("c", "x");
        span.record("b", 2);
        span.record("a", true);
        info!("m");
    });
    assert_eq!(
        lines[0].without_time(),
        r#"level="INFO" msg="m" a=true b=2 c="x""#
    );
}

#[test]
fn a_field_with_a_reserved_name_is_kept_under_another() {
    let lines = json(|| {
        let _span = info_span!("s", level = "span", level_2 = "taken", trace_id = "mine").entered();
        info!(
            level = "event",
            time = 5,
            msg = "other",
            span_id = 1,
            trace_flags = 2,
            "m"
        );
    });
    assert_eq!(
        lines[0].without_time(),
        "level=\"INFO\" msg=\"m\" level_2=\"taken\" level_3=\"event\" time_2=5 msg_2=\"other\" \
         span_id_2=1 trace_flags_2=2 level_4=\"span\" trace_id_2=\"mine\""
    );
}

#[test]
fn the_target_is_reserved_only_where_it_is_shown() {
    let event = || info!(target: "some::module", target = "mine", "m");
    assert_eq!(
        json(event)[0].without_time(),
        r#"level="INFO" msg="m" target="mine""#
    );
    let shown = logged(LoggingBuilder::default().target(true), event).objects();
    assert_eq!(
        shown[0].without_time(),
        r#"level="INFO" msg="m" target="some::module" target_2="mine""#
    );
}

#[test]
fn of_several_fields_of_one_name_the_innermost_keeps_it_and_equal_ones_are_said_once() {
    let lines = json(|| {
        let _outer = info_span!("outer", id = 1, same = "x", message = "not the event's").entered();
        let _middle = info_span!("middle", id = 2, same = "x").entered();
        let _inner = info_span!("inner", id = 3, same = "x").entered();
        info!(id = 4, "m");
        info!("n");
    });
    assert_eq!(
        lines[0].without_time(),
        "level=\"INFO\" msg=\"m\" id=4 same=\"x\" message=\"not the event's\" id_2=3 id_3=2 id_4=1"
    );
    assert_eq!(
        lines[1].without_time(),
        "level=\"INFO\" msg=\"n\" id=3 same=\"x\" message=\"not the event's\" id_2=2 id_3=1"
    );
}

#[test]
fn a_name_that_comes_twice_in_one_event_or_span_loses_neither_value() {
    let lines = json(|| {
        let _span = info_span!("s", b = 1, b = 2).entered();
        info!(a = 1, a = 2, message = "a field", "m");
    });
    assert_eq!(
        lines[0].without_time(),
        r#"level="INFO" msg="m" a=1 message="a field" b=1 a_2=2 b_2=2"#
    );
}

#[test]
fn each_type_is_what_json_has_for_it() {
    let lines = json(|| {
        info!(
            negative = i64::MIN,
            large = u64::MAX,
            small_128 = 5_i128,
            large_128 = u128::MAX,
            float = 0.1,
            whole = 2.0,
            nan = f64::NAN,
            infinite = f64::NEG_INFINITY,
            yes = true,
            none = None::<u8>,
            bytes = &b"\xff\x00"[..],
            debug = ?Some("x"),
            display = %1.5,
            r#type = "raw",
            "odd \"name\"\n" = 1,
            log.file = %"kept",
            "m"
        );
    });
    let line = &lines[0];
    for (key, expected) in [
        ("negative", value!(i64::MIN)),
        ("large", value!(u64::MAX)),
        ("small_128", value!(5)),
        ("large_128", value!(u128::MAX.to_string())),
        ("float", value!(0.1)),
        ("whole", value!(2.0)),
        ("nan", value!("NaN")),
        ("infinite", value!("-inf")),
        ("yes", value!(true)),
        ("bytes", value!("[ff 00]")),
        ("debug", value!("Some(\"x\")")),
        ("display", value!("1.5")),
        ("type", value!("raw")),
        ("odd \"name\"\n", value!(1)),
        ("log.file", value!("kept")),
    ] {
        assert_eq!(line.get(key), Some(expected), "{key}");
    }
    assert_eq!(line.get("none"), None);
}

#[test]
fn nothing_that_a_field_holds_can_break_its_line() {
    let text = "a\nb\r\n\u{2028}\u{2029}\u{85}\u{0}\u{1b}[31m\"\\ \u{feff}\u{10ffff}";
    let capture = logged(LoggingBuilder::default(), || {
        let _span = info_span!("s", in_span = text).entered();
        info!(in_event = text, debug = ?text, "{text}");
    });
    let lines = capture.lines();
    assert_eq!(lines.len(), 1);
    assert!(!lines[0].contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}'));
    let object = &capture.objects()[0];
    assert_eq!(object.text("msg"), text);
    assert_eq!(object.text("in_event"), text);
    assert_eq!(object.text("in_span"), text);
    assert_eq!(object.text("debug"), format!("{text:?}"));
}

#[test]
fn a_value_over_the_limit_is_cut_between_two_characters_and_marked() {
    let long = "é".repeat(500_000);
    let builder = || LoggingBuilder::default().max_value_bytes(101);
    let lines = logged(builder(), || {
        let _span = info_span!("s", in_span = long).entered();
        info!(text = long, display = %long, exact = "x".repeat(101), "{long}");
    })
    .objects();
    let cut = format!("{}…[cut]", "é".repeat(50));
    for key in ["msg", "text", "display", "in_span"] {
        assert_eq!(lines[0].text(key), cut, "{key}");
    }
    assert_eq!(lines[0].text("exact"), "x".repeat(101));
}

#[test]
fn an_error_comes_with_its_causes() {
    #[derive(Debug)]
    struct Failure(Option<Box<Failure>>, &'static str);
    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
    }
    impl error::Error for Failure {
        fn source(&self) -> Option<&(dyn error::Error + 'static)> {
            self.0.as_deref().map(|cause| cause as _)
        }
    }
    let failure = Failure(Some(Box::new(Failure(None, "no such file"))), "no model");
    let lines = json(|| error!(error = &failure as &dyn error::Error, "m"));
    assert_eq!(lines[0].text("error"), "no model: no such file");
}

#[test]
fn a_value_that_cannot_be_formatted_says_so() {
    struct Fails;
    impl fmt::Debug for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    let lines = json(|| info!(fails = ?Fails, "m"));
    assert_eq!(lines[0].text("fails"), "half[could not be formatted]");
}

#[test]
fn a_value_that_panics_takes_only_its_own_line_with_it() {
    struct Panics;
    impl fmt::Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("on purpose")
        }
    }
    let lines = json(|| {
        let result = std::panic::catch_unwind(|| info!(value = ?Panics, "lost"));
        assert!(result.is_err());
        info!(a = 1, "next");
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].without_time(), r#"level="INFO" msg="next" a=1"#);
}
