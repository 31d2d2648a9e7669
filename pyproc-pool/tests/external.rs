//! Workers that somebody else runs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;

use pyproc_pool::Pool;
use support::{Killed, LONG, Scratch, echoes, is_alive, script, until};

#[tokio::test]
async fn external_workers_are_served_but_neither_started_nor_ended() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let sidecar = start_sidecar(&socket);
    let pool = Pool::builder()
        .external_sockets([&socket])
        .start_timeout(LONG)
        .start()
        .await
        .unwrap();
    echoes(&pool).await;
    assert_eq!(pool.health().ready(), 1);
    pool.shutdown(LONG).await;
    assert!(is_alive(sidecar.0.id()));
}

fn start_sidecar(socket: &std::path::Path) -> Killed {
    let sidecar = std::process::Command::new(support::python())
        .arg(script("odd.py"))
        .env("PYPROC_SOCKET_PATH", socket)
        .spawn();
    Killed(sidecar.unwrap())
}

#[tokio::test]
async fn an_external_worker_that_comes_back_is_used_again() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let first = start_sidecar(&socket);
    let pool = Pool::builder()
        .external_sockets([&socket])
        .start_timeout(LONG)
        .request_timeout(LONG)
        .start()
        .await
        .unwrap();
    echoes(&pool).await;
    drop(first);
    fs::remove_file(&socket).unwrap();
    until("the loss is noticed", || pool.health().ready() == 0).await;
    let _second = start_sidecar(&socket);
    echoes(&pool).await;
    assert_eq!(pool.stats().restarts, 1);
}
