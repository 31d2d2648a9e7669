//! Reloads in which a worker does not start, dies or does not end in time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/reload.rs"]
mod reload_support;
mod support;

use std::{fs, time::Duration};

use pyproc_pool::{DeathCause, Error, ErrorKind, RestartConfig, WorkerState};
use reload_support::{Script, kill, pid, reload};
use serde_json::Value;
use support::{LONG, Scratch, echoes, held, is_alive, odd, pids, until};

#[tokio::test]
async fn where_the_next_worker_does_not_start_the_old_ones_go_on() {
    let files = Scratch::new();
    let script = Script::new(&files);
    let pool = script.pool(2).start().await.unwrap();
    let before = pids(&pool);
    script.begin_with("raise SystemExit('no such model')");
    let error = pool.reload(LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(format!("{error:?}").contains("no such model"), "{error:?}");
    assert_eq!(pids(&pool), before);
    assert!(pool.health().workers[0].last_error.is_some());
    echoes(&pool).await;
    script.begin_with("pass");
    pool.reload(LONG).await.unwrap();
    assert!(!pids(&pool).iter().any(|pid| before.contains(pid)));
}

#[tokio::test]
async fn a_worker_that_does_not_finish_in_time_is_killed_and_the_error_of_its_calls_explains_it() {
    let pool = odd(1).start().await.unwrap();
    let old = pids(&pool)[0];
    let endless = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call::<_, Value>("never", &()).await })
    };
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let report = pool.reload(Duration::from_millis(20)).await.unwrap();
    assert_eq!(report.killed, 1);
    let Error::WorkerDied(death) = endless.await.unwrap().unwrap_err() else {
        panic!("the worker was killed");
    };
    assert!(matches!(death.cause, DeathCause::Replaced), "{death:?}");
    assert_eq!(death.pid, Some(old));
    assert!(!is_alive(old));
    assert_eq!(pool.stats().in_flight, 0);
    echoes(&pool).await;
}

#[tokio::test]
async fn a_worker_that_ignores_its_end_is_killed_though_it_has_finished() {
    let pool = odd(1).start().await.unwrap();
    let old: u32 = pool.call("stubborn", &()).await.unwrap();
    let report = pool.reload(Duration::ZERO).await.unwrap();
    assert_eq!(report.killed, 1);
    assert!(!is_alive(old));
}

#[tokio::test]
async fn a_worker_that_dies_after_it_was_replaced_takes_its_own_calls_with_it() {
    let files = Scratch::new();
    let pool = odd(1).start().await.unwrap();
    let old = pids(&pool)[0];
    let running = held(&pool, &files.path().join("never"));
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = reload(&pool, LONG);
    until("another worker has the slot", || pids(&pool) != [old]).await;
    kill(old);
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::WorkerDied(_)), "{error:?}");
    assert_eq!(reload.await.unwrap().unwrap().killed, 0);
    echoes(&pool).await;
    assert_eq!(pool.health().workers[0].restarts, 1);
}

#[tokio::test]
async fn a_worker_that_dies_while_the_next_one_starts_is_replaced_once() {
    let files = Scratch::new();
    let (mark, gate) = (files.path().join("mark"), files.path().join("gate"));
    let script = Script::new(&files);
    let restart = RestartConfig {
        initial_backoff: Duration::from_millis(1),
        ..Default::default()
    };
    let pool = script.pool(1).restart(restart).start().await.unwrap();
    let old = pids(&pool)[0];
    script.wait_at(&mark, &gate);
    let reload = reload(&pool, LONG);
    until("the next one starts", || mark.exists()).await;
    kill(old);
    until("the death is noticed", || {
        pool.health().workers[0].state == WorkerState::Restarting
    })
    .await;
    fs::write(&gate, "").unwrap();
    assert_eq!(reload.await.unwrap().unwrap().killed, 0);
    echoes(&pool).await;
    assert_eq!(pool.stats().restarts, 1);
}

#[tokio::test]
async fn a_slot_that_stayed_empty_is_filled_again() {
    let files = Scratch::new();
    let script = Script::new(&files);
    let restart = RestartConfig {
        max_attempts: 1,
        initial_backoff: Duration::from_millis(1),
        ..Default::default()
    };
    let pool = script.pool(1).restart(restart).start().await.unwrap();
    script.begin_with("raise SystemExit('no such model')");
    kill(pids(&pool)[0]);
    until("the slot is given up", || {
        pool.health().workers[0].state == WorkerState::Stopped
    })
    .await;
    let error = pool.reload(LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    let error = pid(&pool).await.unwrap_err();
    assert!(matches!(error, Error::NoWorkers(_)), "{error:?}");
    script.begin_with("raise SystemExit('no such weights')");
    pool.reload(LONG).await.unwrap_err();
    let error = pid(&pool).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("no such weights"),
        "{error:?}"
    );
    script.begin_with("pass");
    pool.reload(LONG).await.unwrap();
    echoes(&pool).await;
    assert_eq!(pool.health().ready(), 1);
}

#[tokio::test]
async fn where_starts_are_tried_for_ever_a_reload_fails_with_the_first_failed_start() {
    let files = Scratch::new();
    let script = Script::new(&files);
    let restart = RestartConfig {
        max_attempts: 0,
        initial_backoff: LONG,
        max_backoff: LONG,
        ..Default::default()
    };
    let pool = script.pool(1).restart(restart).start().await.unwrap();
    script.begin_with("raise SystemExit('no such model')");
    kill(pids(&pool)[0]);
    until("the death is noticed", || pids(&pool).is_empty()).await;
    let error = pool.reload(LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    script.begin_with("pass");
    assert_eq!(pool.reload(LONG).await.unwrap().killed, 0);
    echoes(&pool).await;
}
