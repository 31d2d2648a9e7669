//! Workers start with clean signals, whatever the service ignores or blocks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{env, fs, process::Command};

use pyproc_pool::Pool;
use serde_json::{Value, json};
use support::{Scratch, cores, is_alive, ours, python, service, until};

/// Ignores or blocks the signals of its first argument, and becomes the program that follows.
const STARTER: &str = r#"
import os, signal, sys
for word in sys.argv[1].split(","):
    how, names = word.split(":")
    every = [n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP)]
    chosen = every if names == "all" else [getattr(signal, names)]
    if how == "block":
        signal.pthread_sigmask(signal.SIG_BLOCK, chosen)
    else:
        for number in chosen:
            signal.signal(number, signal.SIG_IGN)
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// The service: this test binary once more, which prints what its workers report.
#[tokio::test]
async fn service_for_the_tests_below() {
    let Some(mark) = env::var_os("SIGNALS_MARK") else {
        return;
    };
    for core in cores() {
        let pool: Pool = ours("signals.py", &core).start().await.unwrap();
        let at_start: Value = pool.call("at_start", &()).await.unwrap();
        let exit_code: i32 = pool.call("exit_code", &()).await.unwrap();
        let terminated: i32 = pool.call("terminated", &()).await.unwrap();
        let file = format!("{}-{core}", mark.to_str().unwrap());
        let death = pool.call::<_, Value>("leave", &file).await.unwrap_err();
        let child: u32 = fs::read_to_string(file).unwrap().parse().unwrap();
        let report = json!({
            "at_start": at_start,
            "exit_code": exit_code,
            "terminated": terminated,
            "death": death.to_string(),
            "child": child,
        });
        println!("\nworker: {report}");
    }
}

/// What the workers of each core report under a service that was started so. What they left running goes with them.
async fn under(how: &str) -> Vec<Value> {
    let scratch = Scratch::new();
    let mut command = Command::new(python());
    command
        .args(["-c", STARTER, how])
        .arg(env::current_exe().unwrap())
        .env("SIGNALS_MARK", scratch.path().join("mark"));
    let (_service, printed) = service(&mut command, "service_for_the_tests_below", "worker: ");
    let workers: Vec<Value> = printed.collect();
    assert_eq!(workers.len(), cores().len(), "{workers:?}");
    for worker in &workers {
        let child = worker["child"].as_u64().unwrap().try_into().unwrap();
        until("the worker's child is gone", || !is_alive(child)).await;
    }
    workers
}

fn children_are_sound(worker: &Value) {
    assert_eq!(
        (&worker["exit_code"], &worker["terminated"]),
        (&json!(3), &json!(-15))
    );
}

#[tokio::test]
async fn a_service_that_blocks_signals_has_workers_that_do_not() {
    for worker in under("block:all").await {
        assert_eq!(worker["at_start"], json!({"ignored": [], "blocked": []}));
        children_are_sound(&worker);
        assert!(worker["death"].as_str().unwrap().contains("exit status: 9"));
    }
}

#[tokio::test]
async fn a_service_that_ignores_signals_has_workers_that_ignore_none_but_a_hangup() {
    for worker in under("ignore:all").await {
        assert_eq!(worker["at_start"], json!({"ignored": [1], "blocked": []}));
        children_are_sound(&worker);
    }
}

#[tokio::test]
async fn a_hangup_that_is_only_blocked_reaches_workers() {
    for worker in under("block:SIGHUP").await {
        assert_eq!(worker["at_start"], json!({"ignored": [], "blocked": []}));
    }
}

#[tokio::test]
async fn a_service_that_ignores_the_end_of_children_gets_deaths_with_a_lost_status() {
    for worker in under("ignore:SIGCHLD").await {
        children_are_sound(&worker);
        let death = worker["death"].as_str().unwrap();
        assert!(death.contains("its exit status is lost"), "{death}");
    }
}
