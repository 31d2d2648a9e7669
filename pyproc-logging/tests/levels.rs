//! Which events are logged.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use pyproc_logging::{Levels, LoggingBuilder};
use support::{Capture, logged};
use tracing::{
    Dispatch, debug, debug_span, dispatcher::with_default, error, info, info_span,
    level_filters::LevelFilter, trace_span, warn,
};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

fn messages(capture: &Capture) -> Vec<String> {
    capture
        .objects()
        .iter()
        .map(|line| line.text("msg"))
        .collect()
}

#[test]
fn a_level_can_be_changed_while_the_program_runs() {
    let (dispatch, guard, capture) = support::subscriber(LoggingBuilder::default());
    let log = |step: &str| {
        with_default(&dispatch, || {
            debug!("debug {step}");
            info!("info {step}");
            error!("error {step}");
        })
    };
    let handle = guard.handle();
    log("at info");
    handle.set_level(Levels::DEBUG);
    log("at debug");
    handle.set_level(Levels::OFF);
    log("at off");
    handle.set_level(Levels::ERROR);
    log("at error");
    assert!(handle.flush(Duration::from_secs(30)));
    assert_eq!(
        messages(&capture),
        [
            "info at info",
            "error at info",
            "debug at debug",
            "info at debug",
            "error at debug",
            "error at error"
        ]
    );
}

#[test]
fn targets_have_levels_of_their_own_and_the_longest_wins() {
    let levels: Levels = "warn,a=debug,a::b=off".parse().unwrap();
    let capture = logged(LoggingBuilder::default().level(levels), || {
        info!("no");
        warn!("yes: all");
        debug!(target: "a", "yes: a");
        debug!(target: "a::c", "yes: below a");
        error!(target: "a::b", "no");
    });
    assert_eq!(messages(&capture), ["yes: all", "yes: a", "yes: below a"]);
}

#[test]
fn a_warning_keeps_the_fields_of_its_request_whatever_the_level() {
    let capture = logged(LoggingBuilder::default().level(Levels::WARN), || {
        let _request = info_span!("request", request_id = "r-1").entered();
        let _detail = debug_span!("detail", detail = 1).entered();
        let _more = trace_span!("more", more = 1).entered();
        info!("not logged");
        warn!("logged");
    });
    let lines = capture.objects();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        lines[0].without_time(),
        r#"level="WARN" msg="logged" request_id="r-1""#
    );
}

#[test]
fn the_level_of_the_log_is_not_that_of_other_layers() {
    let (log, other) = (Capture::default(), Capture::default());
    let (log_layer, log_guard) = LoggingBuilder::default()
        .level(Levels::WARN)
        .writer(log.clone())
        .layer()
        .unwrap();
    let (other_layer, other_guard) = LoggingBuilder::default()
        .level(Levels::DEBUG)
        .writer(other.clone())
        .layer()
        .unwrap();
    let layers = vec![
        log_layer,
        other_layer.with_filter(LevelFilter::DEBUG).boxed(),
    ];
    let dispatch = Dispatch::new(Registry::default().with(layers));
    with_default(&dispatch, || {
        debug!("detail");
        warn!("trouble");
    });
    drop((log_guard, other_guard));
    assert_eq!(messages(&log), ["trouble"]);
    assert_eq!(messages(&other), ["detail", "trouble"]);
}
