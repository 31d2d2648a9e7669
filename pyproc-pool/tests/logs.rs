//! The events of a pool's calls and workers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use events::{Events, InSpan, POOL, fields, listen};
use pyproc_pool::{Error, LogLevel, Pool};
use serde_json::Value;
use support::{LONG, odd, poll_once, until};
use tracing::{Instrument, Level};

/// Calls that completed, as level, span and fields other than the duration.
fn completed(events: &Events) -> Vec<(Level, BTreeMap<&'static str, String>)> {
    let logged_events = events.of(POOL).into_iter();
    logged_events
        .filter(|it| it.message() == "call completed")
        .map(|it| {
            let millis: f64 = it.fields["duration_ms"].parse().unwrap();
            assert!(millis >= 0.0, "{it:?}");
            (it.level, it.fields_without(&["duration_ms", "message"]))
        })
        .collect()
}

#[tokio::test]
async fn a_call_that_completed_is_logged_in_the_span_of_its_caller() {
    let (events, _guard) = listen(Level::DEBUG);
    let pool = odd(1).start().await.unwrap();
    let call = pool.call::<_, u8>("echo", &7);
    call.instrument(tracing::info_span!("of the caller"))
        .await
        .unwrap();
    let spans: Vec<_> = events.of(POOL).iter().map(|it| it.span).collect();
    assert_eq!(spans.last(), Some(&Some("of the caller")));
    let expected = fields([
        ("function_name", "echo"),
        ("worker_id", "0"),
        ("status", "success"),
    ]);
    assert_eq!(completed(&events), [(Level::DEBUG, expected)]);
}

#[tokio::test]
async fn a_call_that_has_a_span_is_logged_with_its_ids() {
    let (events, _guard) = listen(Level::DEBUG);
    let in_span = InSpan {
        caller_span_id: Some([9; 8]),
    };
    let pool = odd(1).observer(Arc::new(in_span)).start().await.unwrap();
    let _: u8 = pool.call("echo", &7).await.unwrap();
    let said = &completed(&events)[0].1;
    assert_eq!(said["trace_id"], "07".repeat(16));
    assert_eq!(said["span_id"], "09".repeat(8));
    assert_eq!(said["trace_flags"], "01");
}

#[tokio::test]
async fn failed_calls_are_warnings_without_bodies() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).max_in_flight(1).max_queue(0).start().await.unwrap();
    assert!(pool.call::<_, Value>("fail", &"no").await.is_err());
    assert!(pool.call::<_, u8>("echo", &"secret").await.is_err());
    let slow = pool.request("never", &1).timeout(Duration::from_millis(20));
    assert!(slow.call::<Value>().await.is_err());
    // The pool is full: that is logged once, and not for each call.
    for _ in 0..3 {
        assert!(pool.call::<_, u8>("echo", &1).await.is_err());
    }
    let said = completed(&events);
    let statuses: Vec<_> = said
        .iter()
        .map(|(level, it)| (*level, it["status"].as_str()))
        .collect();
    let expected = ["error", "decode", "timeout"].map(|status| (Level::WARN, status));
    assert_eq!(statuses, expected);
    assert_eq!(said[0].1["error"], "`fail` raised an error: no");
    assert_eq!(said[2].1["worker_id"], "0");
    assert!(!format!("{said:?}").contains("secret"));
    assert_eq!(rejected(&events)[0], 1);
}

/// The counts of the events `queue full`.
fn rejected(events: &Events) -> Vec<usize> {
    let logged_events = events.of(POOL).into_iter();
    logged_events
        .filter(|it| it.message() == "queue full")
        .map(|it| it.fields["rejected"].parse().unwrap())
        .collect()
}

#[tokio::test]
async fn all_calls_that_are_refused_are_counted_soon_and_not_one_by_one() {
    const BURST: usize = 1000;
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).max_in_flight(1).max_queue(0).start().await.unwrap();
    let mut running = Box::pin(pool.call::<_, Value>("never", &1));
    assert!(poll_once(running.as_mut()).is_pending());
    for _ in 0..BURST {
        assert!(pool.call::<_, u8>("echo", &1).await.is_err());
    }
    let counted = || rejected(&events).iter().sum::<usize>();
    until("all are counted", || counted() == BURST).await;
    assert!(rejected(&events).len() < BURST / 10);
}

#[tokio::test]
async fn calls_that_are_refused_are_counted_before_the_pool_is_gone() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).max_in_flight(1).max_queue(0).start().await.unwrap();
    let mut running = Box::pin(pool.call::<_, Value>("never", &1));
    assert!(poll_once(running.as_mut()).is_pending());
    for _ in 0..3 {
        assert!(pool.call::<_, u8>("echo", &1).await.is_err());
    }
    drop(running);
    drop(pool);
    assert_eq!(rejected(&events).iter().sum::<usize>(), 3);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_logged_as_abandoned() {
    let (events, _guard) = listen(Level::DEBUG);
    let pool = odd(1).start().await.unwrap();
    let mut call = Box::pin(pool.call::<_, Value>("never", &1));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
    let expected = fields([
        ("function_name", "never"),
        ("worker_id", "0"),
        ("status", "abandoned"),
    ]);
    assert_eq!(completed(&events), [(Level::DEBUG, expected)]);
}

#[tokio::test]
async fn slow_calls_are_warned_of_and_the_level_of_others_is_the_users() {
    let (events, _guard) = listen(Level::TRACE);
    let one = odd(1).call_log(LogLevel::Info).start().await.unwrap();
    let _: u8 = one.call("echo", &1).await.unwrap();
    let all_slow = odd(1).slow_call(Duration::from_nanos(1)).start();
    let _: u8 = all_slow.await.unwrap().call("echo", &1).await.unwrap();
    let silent = odd(1).call_log(LogLevel::Off).start().await.unwrap();
    assert!(silent.call::<_, Value>("fail", &1).await.is_err());
    let levels: Vec<_> = completed(&events).iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Level::INFO, Level::WARN]);
}

#[tokio::test]
async fn the_life_of_a_worker_is_logged_from_its_start_to_its_end() {
    let (events, _guard) = listen(Level::DEBUG);
    let pool = odd(1).call_log(LogLevel::Off).start().await.unwrap();
    assert!(pool.call::<_, Value>("exit_with", &3).await.is_err());
    until("it is replaced", || pool.stats().restarts == 1).await;
    pool.shutdown(LONG).await;
    let expected = [
        "worker started",
        "worker ready",
        "worker died",
        "worker started",
        "worker restarted",
        "worker stopped",
    ];
    assert_eq!(events.messages(POOL), expected);
    let died = &events.of(POOL)[2];
    assert_eq!(died.level, Level::WARN);
    assert_eq!(died.fields["reason"], "exit status: 3");
    let error = &died.fields["error"];
    assert!(error.contains("exit status: 3"), "{error}");
    assert_eq!(events.of(POOL)[4].fields["restarts"], "1");
}

#[tokio::test]
async fn a_weak_handle_does_not_keep_the_pool() {
    let pool = odd(1).start().await.unwrap();
    let weak = pool.downgrade();
    assert_eq!(weak.upgrade().unwrap().health().ready(), 1);
    drop(pool);
    assert!(weak.upgrade().is_none());
    let error = Pool::builder().start().await.unwrap_err();
    assert!(matches!(error, Error::Config(_)));
}
