//! A worker whose introduction the pool refuses is reported as that, with the reason.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{os::unix::net::UnixListener, sync::Arc, time::Duration};

use pyproc_pool::{Error, Pool, PoolBuilder, StartFailure, StartFailureCause as Cause};
use support::{Scratch, builder, nothing_is_left};

/// Answers to the hello, and the text of the error.
const REFUSED: [(&str, &str); 10] = [
    ("version", "chose version 9"),
    ("functions", "lists 4097 functions"),
    ("deep", "recursion limit"),
    ("body", "hello makes no sense"),
    ("id", "has id 77, expected 1"),
    ("foreign", "announces 1213486160 bytes"),
    ("text", "cannot begin with byte 0x68"),
    ("empty", "is empty"),
    ("request", "sent a request"),
    ("refused", "I read no frames"),
];

fn answering(args: &[&str], sockets: &Scratch) -> PoolBuilder {
    builder("handshake.py")
        .workers(1)
        .args(args.iter().copied())
        .socket_dir(sockets.path())
}

async fn failed_start(builder: PoolBuilder) -> Arc<StartFailure> {
    match builder.start().await {
        Err(Error::StartFailed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn says(failure: Arc<StartFailure>, reason: &str) {
    let refused = matches!(failure.cause, Cause::Handshake(_));
    let text = format!("{:?}", Error::StartFailed(failure));
    assert!(refused && text.contains(reason), "{reason}: {text}");
}

#[tokio::test]
async fn a_hello_that_is_refused_is_the_reason_though_the_worker_ends_when_the_pool_hangs_up() {
    for (mode, reason) in REFUSED {
        let sockets = Scratch::new();
        says(failed_start(answering(&[mode], &sockets)).await, reason);
        nothing_is_left(&sockets).await;
    }
}

#[tokio::test]
async fn a_hello_that_is_refused_is_the_reason_though_the_worker_ends_at_once() {
    for (mode, reason) in REFUSED {
        let sockets = Scratch::new();
        says(
            failed_start(answering(&[mode, "ends"], &sockets)).await,
            reason,
        );
        nothing_is_left(&sockets).await;
    }
}

#[tokio::test]
async fn a_worker_that_ends_in_the_handshake_is_reported_with_its_exit_code() {
    let sockets = Scratch::new();
    let failure = failed_start(answering(&["nothing", "ends"], &sockets)).await;
    assert!(
        matches!(failure.cause, Cause::Exited(status) if status.code() == Some(3)),
        "{failure}"
    );
    nothing_is_left(&sockets).await;
}

#[tokio::test]
async fn a_worker_that_listens_and_answers_nothing_is_not_asked_for_run_worker() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("mute.sock");
    let _mute = UnixListener::bind(&socket).unwrap();
    let builder = Pool::builder()
        .external_sockets([socket])
        .start_timeout(Duration::from_millis(50));
    let text = failed_start(builder).await.to_string();
    assert!(text.contains("did not answer the pool's hello"), "{text}");
}

#[tokio::test]
async fn a_script_that_ends_without_run_worker_is_asked_for_it_and_one_that_fails_is_not() {
    let sockets = Scratch::new();
    let failure = failed_start(answering(&["idle"], &sockets)).await;
    assert!(matches!(failure.cause, Cause::NeverServed), "{failure}");
    let failure = failed_start(answering(&["fails"], &sockets)).await;
    assert!(
        matches!(failure.cause, Cause::Exited(status) if !status.success()),
        "{failure}"
    );
}

#[tokio::test]
async fn a_worker_that_hangs_up_on_a_pool_may_be_one_for_other_users() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("closes.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || drop(listener.accept()));
    let builder = Pool::builder().external_sockets([socket]);
    let text = failed_start(builder).await.to_string();
    assert!(text.contains("PYPROC_ALLOWED_UIDS"), "{text}");
}
