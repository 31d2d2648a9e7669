//! The pool's own threads end with the workers that they are for. A process of its own, so
//! that no other test's threads are counted.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;

use pyproc_pool::Error;
use serde_json::Value;
use support::{Scratch, is_alive, odd, until};

/// The pool's threads in this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("pyproc-"))
        .count()
}

#[tokio::test]
async fn a_detached_child_that_keeps_the_output_open_does_not_keep_a_thread() {
    let files = Scratch::new();
    let file = files.path().join("pid");
    let pool = odd(1).start().await.unwrap();
    assert_eq!(
        threads(),
        2,
        "one waits for the process, one reads its output"
    );
    let died = pool.call::<_, Value>("leave_detached_child", &file).await;
    assert!(matches!(died, Err(Error::WorkerDied(_))), "{died:?}");
    until("the worker is replaced", || pool.stats().restarts == 1).await;

    let child = fs::read_to_string(&file).unwrap();
    assert!(is_alive(child.parse().unwrap()));
    until("only the new worker's threads run", || threads() == 2).await;
    drop(pool);
    until("no thread runs", || threads() == 0).await;
    let killed = std::process::Command::new("kill")
        .args(["-9", &child])
        .status();
    assert!(killed.unwrap().success());
}
