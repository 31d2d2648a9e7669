//! How a pool ends, by order and otherwise.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, time::Duration};

use pyproc_pool::{ErrorKind, WorkerState};
use serde_json::Value;
use support::{LONG, Scratch, echoes, held, is_alive, leaves_nothing, odd, pids, poll_once, until};

#[tokio::test]
async fn shutdown_lets_calls_finish_and_refuses_new_ones() {
    let (files, sockets) = (Scratch::new(), Scratch::new());
    let gate = files.path().join("gate");
    let pool = odd(1).socket_dir(sockets.path()).start().await.unwrap();
    let all_pids = pids(&pool);
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let shutdown = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.shutdown(LONG).await })
    };
    tokio::task::yield_now().await;
    let refused = pool.call::<_, Value>("echo", &1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ShutDown);
    fs::write(&gate, "").unwrap();
    assert_eq!(running.await.unwrap().unwrap(), "seen");
    let report = shutdown.await.unwrap();
    assert_eq!((report.cut_off, report.killed), (0, 0));
    assert_eq!(pool.health().workers[0].state, WorkerState::Stopped);
    leaves_nothing(pool, &sockets, &all_pids).await;
}

#[tokio::test]
async fn shutdown_cuts_off_what_does_not_finish_and_kills_who_does_not_listen() {
    let sockets = Scratch::new();
    let pool = odd(1).socket_dir(sockets.path()).start().await.unwrap();
    let pid: u32 = pool.call("stubborn", &()).await.unwrap();
    let endless = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call::<_, Value>("never", &()).await })
    };
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let report = pool.shutdown(Duration::from_millis(20)).await;
    assert_eq!((report.cut_off, report.killed), (1, 1));
    assert_eq!(
        endless.await.unwrap().unwrap_err().kind(),
        ErrorKind::ShutDown
    );
    leaves_nothing(pool, &sockets, &[pid]).await;
}

#[tokio::test]
async fn a_worker_that_ends_when_its_client_hangs_up_is_not_killed() {
    let pool = odd(1).start().await.unwrap();
    let _: Value = pool.call("end_at_hang_up", &()).await.unwrap();
    let report = pool.shutdown(LONG).await;
    assert_eq!((report.cut_off, report.killed), (0, 0));
}

#[tokio::test]
async fn an_answer_to_a_call_that_shutdown_cut_off_does_no_harm() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).start().await.unwrap();
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let shutdown = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.shutdown(Duration::ZERO).await })
    };
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    fs::write(&gate, "").unwrap();
    let report = shutdown.await.unwrap();
    assert_eq!((report.cut_off, report.killed), (1, 0));
    assert_eq!(pool.health().workers[0].last_error, None);
}

#[tokio::test]
async fn two_shutdowns_at_once_both_end() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).start().await.unwrap();
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let mut first = Box::pin(pool.shutdown(Duration::MAX));
    let mut second = Box::pin(pool.shutdown(Duration::MAX));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    fs::write(&gate, "").unwrap();
    tokio::join!(first, second);
    running.await.unwrap().unwrap();
}

#[test]
fn calls_to_a_pool_whose_runtime_is_gone_fail_at_once() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let pool = first.block_on(odd(1).start()).unwrap();
    drop(first);
    let error = runtime()
        .block_on(pool.call::<_, Value>("echo", &1))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert_eq!(pool.health().workers[0].state, WorkerState::Stopped);
}

#[tokio::test]
async fn a_second_shutdown_has_nothing_to_do() {
    let pool = odd(1).start().await.unwrap();
    pool.shutdown(LONG).await;
    let report = pool.shutdown(LONG).await;
    assert_eq!((report.cut_off, report.killed), (0, 0));
}

#[tokio::test]
async fn dropping_the_last_handle_kills_the_workers() {
    let sockets = Scratch::new();
    let pool = odd(2).socket_dir(sockets.path()).start().await.unwrap();
    let all_pids = pids(&pool);
    let clone = pool.clone();
    drop(pool);
    echoes(&clone).await;
    drop(clone);
    until("the workers are gone", || {
        !all_pids.iter().any(|pid| is_alive(*pid))
    })
    .await;
    until("the directory is gone", || sockets.is_empty()).await;
}

#[test]
fn dropping_the_last_handle_kills_the_workers_also_when_the_runtime_stands_still() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pool = runtime.block_on(odd(1).start()).unwrap();
    let pid = pids(&pool)[0];
    drop(pool);
    // Nothing drives the tasks of the first runtime here.
    let other = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    other.block_on(until("the worker is gone", || !is_alive(pid)));
    drop(runtime);
}

#[tokio::test]
async fn a_start_that_is_dropped_halfway_leaves_nothing() {
    let sockets = Scratch::new();
    let mut start = Box::pin(odd(2).args(["mute"]).socket_dir(sockets.path()).start());
    let before = children();
    tokio::select! {
        _ = &mut start => panic!("a mute worker never starts"),
        () = until("the workers run", || children() > before) => {}
    }
    drop(start);
    until("the workers are gone", || children() == 0).await;
    until("the directory is gone", || sockets.is_empty()).await;
}

/// Child processes of this one that run our script and that are mute.
fn children() -> usize {
    let output = std::process::Command::new("ps")
        .args(["-eo", "ppid=,stat=,args="])
        .output()
        .unwrap();
    let own = std::process::id().to_string();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.trim_start().starts_with(&own) && line.ends_with("odd.py mute"))
        .count()
}
