//! The pool with real workers of the package `pyproc_worker`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, time::Duration};

use pyproc_pool::{Error, Pool, PoolBuilder};
use serde_json::{Value, json};
use support::{Scratch, builder, is_alive, leaves_nothing, pids, until};

fn typical() -> PoolBuilder {
    let mut typical = builder("typical.py").workers(1);
    if std::env::var_os("PYPROC_PYTHON_EXEC").is_none() {
        // A plain `cargo test`: the sources do, as the package needs no build.
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../pyproc-py/python");
        typical = typical.env("PYTHONPATH", sources);
    }
    typical
}

async fn call(pool: &Pool, method: &str, input: Value) -> Result<Value, Error> {
    pool.call(method, &input).await
}

#[tokio::test]
async fn functions_take_the_body_or_typed_parameters() {
    let pool = typical().start().await.unwrap();
    let doubled = call(&pool, "predict", json!({"value": 42})).await.unwrap();
    assert_eq!(doubled, json!({"result": 84}));
    assert_eq!(
        call(&pool, "add", json!({"a": 2, "b": 3})).await.unwrap(),
        5
    );
    assert_eq!(call(&pool, "add", json!({"a": 2})).await.unwrap(), 3);
}

#[tokio::test]
async fn an_exception_has_its_type_message_and_traceback() {
    let pool = typical().start().await.unwrap();
    let error = call(&pool, "fail", json!({"name": "x"})).await.unwrap_err();
    let Error::Remote(exception) = error else {
        panic!("{error:?}");
    };
    let type_name = exception.type_name.as_deref().unwrap_or_default();
    assert!(type_name.ends_with("NoSuchModel"), "{exception:?}");
    assert_eq!(exception.message, "no model named x");
    let traceback = exception.traceback.unwrap();
    assert!(
        traceback.contains("typical.py") && traceback.contains("in fail"),
        "{traceback}"
    );
}

#[tokio::test]
async fn a_result_that_json_cannot_carry_names_its_path_and_spares_the_worker() {
    let pool = typical().start().await.unwrap();
    let error = call(&pool, "odd_result", json!(null)).await.unwrap_err();
    let Error::Remote(exception) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        exception.type_name.as_deref(),
        Some("pyproc_worker.EncodeError")
    );
    assert!(
        exception.message.contains("items[1].model"),
        "{}",
        exception.message
    );
    call(&pool, "predict", json!({"value": 1})).await.unwrap();
    assert_eq!(pool.stats().restarts, 0);
}

#[tokio::test]
async fn a_parameter_that_does_not_fit_names_the_field() {
    let pool = typical().start().await.unwrap();
    let error = call(&pool, "add", json!({"a": "two"})).await.unwrap_err();
    let Error::Remote(exception) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        exception.type_name.as_deref(),
        Some("pyproc_worker.InvalidRequest")
    );
    assert!(exception.message.contains('a'), "{}", exception.message);
}

#[tokio::test]
async fn what_functions_print_disturbs_nothing() {
    let pool = typical().start().await.unwrap();
    for _ in 0..3 {
        assert_eq!(call(&pool, "chatter", json!(null)).await.unwrap(), "said");
    }
}

#[tokio::test]
async fn health_is_there_without_being_asked_for() {
    let pool = typical().start().await.unwrap();
    let health = call(&pool, "health", json!({})).await.unwrap();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["pid"], json!(pids(&pool)[0]));
}

#[tokio::test]
async fn a_call_cancelled_before_its_turn_never_runs() {
    let files = Scratch::new();
    let (gate, mark) = (files.path().join("gate"), files.path().join("mark"));
    let pool = typical().start().await.unwrap();
    let running = {
        let (pool, gate) = (pool.clone(), gate.clone());
        tokio::spawn(async move { pool.call::<_, String>("wait_for_file", &gate).await })
    };
    until("the worker is busy", || pool.stats().in_flight == 1).await;
    // This one is in the worker's socket already, behind the first.
    let limit = Duration::from_millis(20);
    let second = pool.request("leave_mark", &mark).timeout(limit);
    let error = second.call::<Value>().await.unwrap_err();
    assert!(matches!(error, Error::Timeout(timeout) if timeout.worker == Some(0)));
    // The connection's task, which runs on this thread, sends the cancellation.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    fs::write(&gate, "").unwrap();
    running.await.unwrap().unwrap();
    until("the worker has answered both", || {
        pool.stats().in_flight == 0
    })
    .await;
    assert!(!mark.exists(), "the cancelled function ran");
}

#[tokio::test]
async fn a_worker_ends_when_its_pool_hangs_up() {
    let sockets = Scratch::new();
    let pool = typical().socket_dir(sockets.path()).start().await.unwrap();
    let all_pids = pids(&pool);
    assert!(is_alive(all_pids[0]));
    let report = pool.shutdown(Duration::from_secs(20)).await;
    assert_eq!((report.cut_off, report.killed), (0, 0));
    leaves_nothing(pool, &sockets, &all_pids).await;
}
