//! What workers print and log, as `tracing` events.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use events::{InSpan, OUTPUT, POOL, PYTHON, fields, listen};
use pyproc_pool::{Pool, WorkerOutput};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{cores, odd, ours, pids, until};
use tokio::task::JoinSet;
use tracing::Level;

#[tokio::test]
async fn what_a_worker_prints_comes_line_by_line() {
    let (events, _guard) = listen(Level::INFO);
    // A subscriber is there, so that this is what is done by default.
    let pool = odd(1).output(WorkerOutput::Auto).start().await.unwrap();
    let json = r#"{"levelname": "WARNING", "name": "shop", "message": "low", "left": 3}"#;
    let stdout = format!("one\n{json}\nhalf");
    let stderr =
        "ERROR:shop.cart:no\nTraceback (most recent call last):\n  File \"a.py\"\nKeyError: 'x'\n";
    let _: Value = pool
        .call("say", &json!({"1": stdout, "2": stderr}))
        .await
        .unwrap();
    until("all is logged", || events.of(OUTPUT).len() == 4).await;
    let of = |stream: &str| {
        let logged = events.of(OUTPUT).into_iter();
        logged
            .filter(|it| it.fields["stream"] == stream)
            .map(|it| (it.level, it.fields_without(&["stream", "time_unix_nano"])))
            .collect::<Vec<_>>()
    };
    let line = |text| {
        let said = [
            ("message", text),
            ("worker_id", "0"),
            ("function_name", "say"),
        ];
        (Level::INFO, fields(said))
    };
    let low = fields([
        ("function_name", "say"),
        ("message", "low"),
        ("worker_id", "0"),
        ("logger", "shop"),
        ("fields", r#"{"left":3}"#),
    ]);
    assert_eq!(
        of("stdout"),
        [line("one"), (Level::WARN, low), line("half")]
    );
    let traceback = "Traceback (most recent call last):\n  File \"a.py\"\nKeyError: 'x'";
    let no = fields([
        ("function_name", "say"),
        ("message", "no"),
        ("worker_id", "0"),
        ("logger", "shop.cart"),
        ("exception", traceback),
    ]);
    assert_eq!(of("stderr"), [(Level::ERROR, no)]);
}

#[tokio::test]
async fn json_that_is_deep_does_no_harm() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).output(WorkerOutput::Log).start().await.unwrap();
    // Serde reads no deeper than 127.
    let nested = |depth| {
        let value = "[".repeat(depth) + &"]".repeat(depth);
        format!("{{\"message\": \"deep\", \"value\": {value}}}\n")
    };
    let lines = nested(126) + &nested(30_000);
    let _: Value = pool.call("say", &json!({"1": lines})).await.unwrap();
    until("both are logged", || events.of(OUTPUT).len() == 2).await;
    let logged = events.of(OUTPUT);
    assert_eq!(logged[0].message(), "deep");
    assert!(logged[0].fields["fields"].len() > 250);
    assert!(logged[1].message().starts_with(r#"{"message": "deep""#));
}

#[tokio::test]
async fn what_a_worker_wrote_before_it_died_is_logged_before_its_death() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1).output(WorkerOutput::Log).start().await.unwrap();
    let last = "Traceback (most recent call last):\n  File \"a.py\"\nKeyError: 'x'";
    let error = pool.call::<_, Value>("say_and_die", &last).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains(last),
        "it is kept for the error, too: {error}"
    );
    let all = events.all_messages();
    let order = ["worker ready", "KeyError: 'x'", "worker died"];
    assert_eq!(all[..3], order, "{all:?}");
}

#[tokio::test]
async fn a_flood_is_logged_up_to_the_rate_and_the_rest_is_counted() {
    const LINES: usize = 50_000;
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1)
        .output(WorkerOutput::Log)
        .log_rate(100)
        .start()
        .await
        .unwrap();
    let flood = json!({"2": "a line of some length\n", "times": LINES});
    let _: Value = pool.call("say", &flood).await.unwrap();
    let said = || events.of(OUTPUT).len();
    let dropped = || {
        let logged = events.of(POOL).into_iter();
        let dropped = logged.filter(|it| it.message() == "lines dropped");
        dropped
            .map(|it| it.fields["count"].parse::<usize>().unwrap())
            .sum::<usize>()
    };
    until("all is logged or counted", || said() + dropped() == LINES).await;
    let (said, dropped) = (said(), dropped());
    assert!(said >= 100, "{said}");
    assert!(
        dropped > LINES / 2,
        "all was read in a moment: {said} said, {dropped} dropped"
    );
}

#[tokio::test]
async fn what_a_worker_of_ours_logs_and_prints_in_a_call_comes_with_its_function() {
    for core in cores() {
        let (events, _guard) = listen(Level::INFO);
        let builder = ours("telling.py", &core).output(WorkerOutput::Log);
        let pool = builder.start().await.unwrap();
        let _: Value = pool.call("log", &1).await.unwrap();
        let _: Value = pool.call("say", &1).await.unwrap();
        until("both are logged", || {
            events.has("low") && events.has("said")
        })
        .await;
        let low = &events.of(PYTHON)[0];
        assert_eq!(low.level, Level::WARN);
        assert_eq!(low.fields["function_name"], "log");
        assert_eq!(low.fields["logger"], "shop.cart");
        assert_eq!(low.fields["fields"], r#"{"left":3}"#);
        let mut said = events.of(OUTPUT).into_iter();
        let said = said.rfind(|it| it.message() == "said").unwrap();
        assert_eq!(said.fields["function_name"], "say", "{core}");
        assert_eq!(said.fields["stream"], "stdout");
    }
}

#[tokio::test]
async fn what_a_worker_of_ours_printed_before_it_was_killed_is_logged_before_its_death_and_in_its_error()
 {
    for core in cores() {
        let (events, _guard) = listen(Level::INFO);
        let builder = ours("telling.py", &core).output(WorkerOutput::Log);
        let pool = builder.start().await.unwrap();
        let error = pool.call::<_, Value>("say_and_die", &1).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("about to die\n"), "{core}: {error}");
        assert!(error.contains("the last line"), "{core}: {error}");
        let all = events.all_messages();
        let place = |message: &str| all.iter().position(|it| it == message);
        let death = place("worker died").unwrap();
        for message in ["about to die", "the last record", "the last line"] {
            assert!(
                place(message).is_some_and(|it| it < death),
                "{core}: {all:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_end_of_one_worker_does_not_break_off_the_traceback_of_another() {
    let (events, _guard) = listen(Level::INFO);
    let builder = ours("telling.py", "python").workers(2);
    let pool = builder.output(WorkerOutput::Log).start().await.unwrap();
    let begin = Instant::now();
    let teller: u32 = pool.call("say_half_a_traceback", &1).await.unwrap();
    let other = pids(&pool).into_iter().find(|pid| *pid != teller).unwrap();
    let other = Pid::from_raw(other.try_into().unwrap()).unwrap();
    kill_process(other, Signal::KILL).unwrap();
    until("its death is logged", || events.has("worker died")).await;
    // It breaks off by itself when nothing follows for two seconds.
    let mut said = events.of(OUTPUT);
    said.retain(|it| it.fields.contains_key("exception"));
    assert!(
        said.is_empty() || begin.elapsed() >= Duration::from_secs(2),
        "{said:?}"
    );
}

/// A call of an old worker that prints `text` to stderr, with a request id.
async fn say_as(pool: &Pool, id: &str, text: String) {
    let body = json!({"2": text});
    let request = pool.request("say", &body);
    let request = request.header("baggage", format!("request_id={id}"));
    let _: Value = request.call().await.unwrap();
}

#[tokio::test]
async fn what_an_old_worker_prints_comes_with_the_ids_of_its_call() {
    let (events, _guard) = listen(Level::INFO);
    let pool = odd(1)
        .output(WorkerOutput::Log)
        .observer(Arc::new(InSpan::default()))
        .start()
        .await
        .unwrap();
    const CALLS: usize = 50;
    let traceback = "Traceback (most recent call last):\n  File \"a.py\"\nKeyError: 'x'\n";
    for call in 0..CALLS {
        let id = format!("r-{call}");
        let log = "2026-11-21 12:00:00,123 - pyproc_worker - ERROR - Error in method 'say': ";
        // The last line of a call has no end.
        say_as(&pool, &id, format!("{log}{traceback}{id}")).await;
    }
    until("all is logged", || events.of(OUTPUT).len() == 2 * CALLS).await;
    for (number, logged) in events.of(OUTPUT).iter().enumerate() {
        let id = format!("r-{}", number / 2);
        assert_eq!(logged.fields["function_name"], "say");
        assert_eq!(logged.fields["trace_id"], "07".repeat(16));
        assert_eq!(logged.fields["span_id"], "08".repeat(8));
        assert_eq!(
            logged.fields["fields"],
            json!({"request_id": id}).to_string()
        );
        match number % 2 {
            0 => {
                assert_eq!(logged.message(), "Error in method 'say': KeyError: 'x'");
                assert_eq!(logged.fields["exception"], traceback.trim_end());
                assert_eq!(logged.level, Level::ERROR);
            }
            _ => assert_eq!(logged.message(), id),
        }
    }
}

#[tokio::test]
async fn no_line_of_an_old_worker_under_load_has_the_ids_of_another_call() {
    let (events, _guard) = listen(Level::INFO);
    const CALLS: usize = 2000;
    let builder = odd(2).output(WorkerOutput::Log).max_queue(CALLS);
    let pool = builder.start().await.unwrap();
    let mut calls = JoinSet::new();
    for call in 0..CALLS {
        let pool = pool.clone();
        calls.spawn(async move {
            let id = format!("r-{call}");
            say_as(&pool, &id, format!("{id}\n{id}\n")).await;
        });
    }
    calls.join_all().await;
    until("all is logged", || events.of(OUTPUT).len() == 2 * CALLS).await;
    let (mut known, mut unknown) = (0, 0);
    for logged in events.of(OUTPUT) {
        match logged.fields.get("fields") {
            Some(fields) => {
                let id = logged.message();
                assert_eq!(*fields, json!({"request_id": id}).to_string());
                known += 1;
            }
            None => unknown += 1,
        }
    }
    assert!(known > 0, "{unknown} lines had no ids");
}
