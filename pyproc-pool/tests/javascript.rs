//! A pool of workers in another language: the one that the protocol's conformance tool keeps.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use events::{PYTHON, listen};
use pyproc_pool::{Error, Pool, PoolBuilder};
use serde_json::{Value, json};
use support::{LONG, Scratch, leaves_nothing, pids, until};
use tokio::task::JoinSet;
use tracing::Level;

const WORKER: &str = "../pyproc-protocol/tests/conformance/workers/javascript/worker.js";

/// `None`, after a word about it, where there is no Node.js. `cargo xtask ci` fails then, in its step `conformance`.
fn javascript(sockets: &Scratch) -> Option<PoolBuilder> {
    let node = Command::new("node")
        .args(["--eval", "if (!Object.hasOwn) process.exit(1)"])
        .status();
    if !node.is_ok_and(|it| it.success()) {
        eprintln!("SKIPPED: Node.js 18 or newer is needed for a worker in JavaScript");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(WORKER);
    let builder = Pool::builder().python_exec("node").worker_script(script);
    Some(
        builder
            .workers(2)
            .socket_dir(sockets.path())
            .start_timeout(LONG)
            .request_timeout(LONG),
    )
}

#[tokio::test]
async fn a_wrapper_may_be_between_the_pool_and_its_worker() {
    let sockets = Scratch::new();
    let Some(builder) = javascript(&sockets) else {
        return;
    };
    let wrapper = sockets.path().join("wrapper");
    fs::write(&wrapper, "#!/bin/sh\nnode \"$@\"\nexit $?\n").unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let pool = builder.python_exec(wrapper).workers(1).start();
    let pool = pool.await.unwrap();
    // It looks once a second whether the pool is gone.
    pool.call::<_, ()>("sleep", &1_500).await.unwrap();
    pool.shutdown(LONG).await;
}

#[tokio::test]
async fn its_workers_are_called_reloaded_and_ended_like_ours() {
    let sockets = Scratch::new();
    let Some(builder) = javascript(&sockets) else {
        return;
    };
    let pool = builder.start().await.unwrap();
    let mut calls = JoinSet::new();
    for i in 0..1_000_u64 {
        let pool = pool.clone();
        calls.spawn(async move { (i, pool.call::<_, u64>("echo", &i).await.unwrap()) });
    }
    while let Some(answer) = calls.join_next().await {
        let (asked, got) = answer.unwrap();
        assert_eq!(asked, got);
    }
    let failures = [
        ("fail", "Error", "no such model"),
        (
            "nope",
            "pyproc_worker.MethodNotFound",
            "Method 'nope' not found",
        ),
    ];
    for (method, kind, message) in failures {
        let error = pool
            .call::<_, Value>(method, &"no such model")
            .await
            .unwrap_err();
        let Error::Remote(exception) = error else {
            panic!("{error:?}");
        };
        assert_eq!(
            (exception.type_name.as_deref(), exception.message.as_str()),
            (Some(kind), message)
        );
    }
    let before = pids(&pool);
    pool.reload(LONG).await.unwrap();
    let all = [before, pids(&pool)].concat();
    assert_eq!(
        pool.call::<_, Value>("echo", &json!([1])).await.unwrap(),
        json!([1])
    );
    leaves_nothing(pool, &sockets, &all).await;
}

#[tokio::test]
async fn its_log_records_are_events() {
    let (events, _guard) = listen(Level::INFO);
    let sockets = Scratch::new();
    let Some(builder) = javascript(&sockets) else {
        return;
    };
    let pool = builder.start().await.unwrap();
    let _: Value = pool.call("report", &"from JavaScript").await.unwrap();
    let came = || {
        events
            .of(PYTHON)
            .iter()
            .any(|it| it.message() == "from JavaScript")
    };
    until("the record is an event", came).await;
    pool.shutdown(LONG).await;
}
