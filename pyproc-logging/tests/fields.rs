//! Fields of every line: which pod, which version.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use proptest::prelude::*;
use pyproc_logging::{InitError, LogFormat, LoggingBuilder};
use support::{Capture, Object};
use tracing::{info, info_span, subscriber::with_default};
use tracing_subscriber::layer::SubscriberExt;

fn logged(builder: LoggingBuilder, log: impl FnOnce()) -> Capture {
    let capture = Capture::default();
    let (layer, guard) = builder.writer(capture.clone()).layer().unwrap();
    with_default(tracing_subscriber::registry().with(layer), log);
    drop(guard);
    capture
}

fn of_pod() -> LoggingBuilder {
    LoggingBuilder::default()
        .field("pod_name", "shop-1")
        .field("namespace", "prod")
}

#[test]
fn they_stand_on_every_line() {
    let capture = logged(of_pod(), || {
        info!("alone");
        info_span!("request", request_id = "r-1").in_scope(|| info!(rows = 3, "in a span"));
        info!(target: "pyproc::python", fields = r#"{"sku": 1}"#, worker_id = 0, "of Python");
    });
    let lines: Vec<_> = capture.objects();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!(line.text("pod_name"), "shop-1");
        assert_eq!(line.text("namespace"), "prod");
        assert_eq!(line.keys()[..3], ["time", "level", "msg"]);
    }
    assert_eq!(
        lines[1].without_time(),
        r#"level="INFO" msg="in a span" namespace="prod" pod_name="shop-1" rows=3 request_id="r-1""#
    );
}

#[test]
fn their_names_are_theirs_alone() {
    let capture = logged(of_pod(), || {
        info!(pod_name = "shop-1", namespace = "other", "x");
        info!(target: "pyproc::output", fields = r#"{"pod_name": "shop-2"}"#, "x");
    });
    let lines = capture.objects();
    assert_eq!(
        lines[0].without_time(),
        r#"level="INFO" msg="x" namespace="prod" pod_name="shop-1" namespace_2="other""#
    );
    assert_eq!(lines[1].text("pod_name"), "shop-1");
    assert_eq!(lines[1].text("pod_name_2"), "shop-2");
}

#[test]
fn they_stand_on_lines_of_text_and_on_the_line_about_dropped_lines() {
    let text = logged(of_pod().format(LogFormat::Text), || info!("alone")).text();
    assert!(
        text.ends_with(": alone namespace=prod pod_name=shop-1\n"),
        "{text}"
    );
    // A queue without room for a line of this length.
    let capture = logged(of_pod().queue_bytes(4096), || {
        info!(long = "x".repeat(5000), "x")
    });
    let lines = capture.objects();
    let notice = lines.last().unwrap();
    assert_eq!(notice.get("dropped_lines").unwrap(), 1);
    assert_eq!(notice.text("pod_name"), "shop-1");
}

#[test]
fn a_secret_is_hidden_and_a_long_value_cut() {
    let builder = LoggingBuilder::default()
        .field("token", "x")
        .field("long", "x".repeat(100))
        .redact(["token"])
        .max_value_bytes(64);
    let capture = logged(builder, || info!("x"));
    let line = capture.objects().pop().unwrap();
    assert_eq!(line.text("token"), "[redacted]");
    assert!(line.text("long").ends_with("…[cut]"));
}

#[test]
fn a_key_of_the_log_itself_is_refused_with_a_sentence() {
    for name in ["time", "level", "msg", "trace_id", "target", "worker_id"] {
        let refused = LoggingBuilder::default().field(name, "x").init();
        let Err(InitError::Config(error)) = refused else {
            panic!("{name}");
        };
        assert_eq!(error.field, "fields");
        assert!(
            error.reason.contains(&format!("`{name}` cannot be")),
            "{error}"
        );
    }
}

#[cfg(feature = "bunyan")]
#[test]
fn they_stand_on_lines_of_bunyan() {
    let builder = of_pod().format(LogFormat::Bunyan).name("shop");
    let capture = logged(builder, || {
        info_span!("request", namespace = "mine").in_scope(|| info!(pod_name = "shop-1", "x"));
    });
    let lines: Vec<Object> = capture.objects();
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert_eq!(line.text("pod_name"), "shop-1");
        assert_eq!(line.text("namespace"), "prod");
        assert_eq!(line.text("namespace_2"), "mine");
    }
    let refused = of_pod().field("hostname", "x").format(LogFormat::Bunyan);
    assert!(refused.init().is_err());
}

proptest! {
    #[test]
    fn no_value_breaks_a_line(value in "(?s).{0,50}", other in any::<String>()) {
        for format in [LogFormat::Json, LogFormat::Text] {
            let builder = LoggingBuilder::default().format(format).field("a", &*value).field("b", &*other);
            let capture = logged(builder, || info!(a = 1, "x"));
            prop_assert_eq!(capture.lines().len(), 1);
            if format == LogFormat::Json {
                let line = capture.objects().pop().unwrap();
                prop_assert_eq!(line.text("a"), value.clone());
                prop_assert_eq!(line.text("b"), other.clone());
            }
        }
    }
}
