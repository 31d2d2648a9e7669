//! Fields that travel with calls to other processes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{cell::Cell, fmt};

use pyproc_logging::{LogFormat, LoggingBuilder, baggage, request_span};
use support::logged;
use tracing::{Instrument, field::Empty, info_span};

fn builder() -> LoggingBuilder {
    LoggingBuilder::default().travelling(["request_id", "tenant", "n"])
}

/// The baggage inside of `span`.
fn inside(span: impl FnOnce() -> tracing::Span) -> Option<String> {
    inside_with(builder(), span)
}

fn inside_with(builder: LoggingBuilder, span: impl FnOnce() -> tracing::Span) -> Option<String> {
    let mut found = None;
    logged(builder, || found = span().in_scope(baggage));
    found
}

#[test]
fn by_default_the_request_id_travels_and_nothing_else() {
    let found = inside_with(LoggingBuilder::default(), || {
        request_span!("r-17", tenant = "acme")
    });
    assert_eq!(found.as_deref(), Some("request_id=r-17"));
}

#[test]
fn what_travels_comes_in_the_order_of_the_setting_in_every_format() {
    for format in [
        LogFormat::Json,
        LogFormat::Text,
        #[cfg(feature = "bunyan")]
        LogFormat::Bunyan,
    ] {
        let found = inside_with(
            builder().format(format),
            || info_span!("s", n = -3, other = 1, tenant = ?"acme", request_id = %"r-17"),
        );
        assert_eq!(
            found.as_deref(),
            Some("request_id=r-17,tenant=%22acme%22,n=-3")
        );
    }
}

#[test]
fn of_spans_inside_each_other_the_innermost_counts() {
    let found = inside(|| {
        let outer = info_span!("outer", request_id = "outer", tenant = "acme");
        let inner = outer.in_scope(|| info_span!("inner", request_id = "inner"));
        info_span!(parent: &inner, "none")
    });
    assert_eq!(found.as_deref(), Some("request_id=inner,tenant=acme"));
}

#[test]
fn what_is_recorded_later_replaces_what_was_there() {
    let found = inside(|| {
        let span = info_span!("s", request_id = "first", tenant = Empty);
        span.record("tenant", "acme").record("request_id", "second");
        span
    });
    assert_eq!(found.as_deref(), Some("request_id=second,tenant=acme"));
}

#[test]
fn a_value_arrives_whatever_is_in_it() {
    let value = "a b,c;d=\"é\\%+\n";
    let found = inside(|| info_span!("s", tenant = value));
    assert_eq!(
        found.as_deref(),
        Some("tenant=a%20b%2Cc%3Bd%3D%22%C3%A9%5C%25%2B%0A")
    );
}

#[test]
fn what_would_be_too_long_stays_and_the_rest_travels() {
    let found = |length| {
        inside(|| info_span!("s", request_id = "r-1", tenant = "x".repeat(length), n = 1)).unwrap()
    };
    let others = "request_id=r-1,tenant=,n=1".len();
    assert_eq!(found(8192 - others).len(), 8192);
    // Without the long one there is room for the last.
    assert_eq!(
        found(8193 - "request_id=r-1,tenant=".len()),
        "request_id=r-1,n=1"
    );
    assert_eq!(found(1 << 20), "request_id=r-1,n=1");
}

#[test]
fn no_more_travels_than_w3c_allows_members() {
    let found = inside_with(LoggingBuilder::default().travelling(vec!["n"; 200]), || {
        info_span!("s", n = 1)
    });
    assert_eq!(found.unwrap().split(',').count(), 180);
}

#[test]
fn a_secret_does_not_travel() {
    let hiding = builder()
        .redact(["tenant"])
        .redact_if(|_, value| value == "4711");
    let found = inside_with(hiding, || {
        let span = info_span!("s", request_id = "r-1", tenant = "acme", n = 3);
        span.record("n", 4711);
        span
    });
    assert_eq!(found.as_deref(), Some("request_id=r-1"));
}

#[test]
fn without_spans_such_fields_or_this_log_nothing_travels() {
    assert_eq!(inside(tracing::Span::none), None);
    assert_eq!(inside(|| info_span!("s", other = 1)), None);
    let span = || info_span!("s", request_id = "r-1");
    assert_eq!(inside_with(builder().travelling([""; 0]), span), None);
    assert_eq!(span().in_scope(baggage), None);
    let others = tracing_subscriber::registry();
    tracing::subscriber::with_default(others, || assert_eq!(span().in_scope(baggage), None));
}

#[test]
fn a_task_has_the_baggage_of_its_span() {
    let mut found = None;
    logged(builder(), || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        found = runtime.block_on(async { baggage() }.instrument(request_span!("r-17")));
    });
    assert_eq!(found.as_deref(), Some("request_id=r-17"));
}

#[test]
fn a_field_that_stays_is_not_formatted_for_the_journey() {
    struct Counted<'a>(&'a Cell<u32>);
    impl fmt::Debug for Counted<'_> {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }
    let count = Cell::new(0);
    inside(|| info_span!("s", request_id = "r-1", other = ?Counted(&count)));
    // For the lines.
    assert_eq!(count.get(), 1);
}
