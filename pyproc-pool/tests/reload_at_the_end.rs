//! Pools that end while a reload runs: by a shutdown, by a drop, or with their runtime.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/reload.rs"]
mod reload_support;
mod support;

use std::time::Duration;

use pyproc_pool::ErrorKind;
use reload_support::{Script, processes_of, reload};
use support::{LONG, Scratch, held, is_alive, leaves_nothing, odd, pids, until};
use tokio::time::timeout;

#[tokio::test]
async fn a_shutdown_ends_both_the_old_worker_and_the_new_one() {
    let (files, sockets) = (Scratch::new(), Scratch::new());
    let pool = odd(1).socket_dir(sockets.path()).start().await.unwrap();
    let old = pids(&pool)[0];
    let running = held(&pool, &files.path().join("never"));
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = reload(&pool, LONG);
    until("another worker has the slot", || pids(&pool) != [old]).await;
    let both = [old, pids(&pool)[0]];
    let report = pool.shutdown(Duration::ZERO).await;
    assert_eq!(report.cut_off, 1);
    assert_eq!(
        running.await.unwrap().unwrap_err().kind(),
        ErrorKind::ShutDown
    );
    let _ = reload.await.unwrap();
    leaves_nothing(pool, &sockets, &both).await;
}

#[tokio::test]
async fn a_shutdown_ends_a_worker_that_is_being_started() {
    let (files, sockets) = (Scratch::new(), Scratch::new());
    let (mark, gate) = (files.path().join("mark"), files.path().join("gate"));
    let script = Script::new(&files);
    let pool = script
        .pool(1)
        .socket_dir(sockets.path())
        .start()
        .await
        .unwrap();
    let old = pids(&pool);
    script.wait_at(&mark, &gate);
    let reload = reload(&pool, LONG);
    until("the next one starts", || mark.exists()).await;
    assert_eq!(processes_of(&script), 2);
    pool.shutdown(LONG).await;
    let error = reload.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert_eq!(processes_of(&script), 0);
    leaves_nothing(pool, &sockets, &old).await;
}

#[tokio::test]
async fn dropping_the_last_handle_kills_the_old_worker_too() {
    let files = Scratch::new();
    let script = Script::new(&files);
    let pool = script.pool(1).start().await.unwrap();
    let old = pids(&pool);
    let running = held(&pool, &files.path().join("never"));
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = reload(&pool, LONG);
    until("another worker has the slot", || pids(&pool) != old).await;
    assert_eq!(processes_of(&script), 2);
    running.abort();
    reload.abort();
    drop(pool);
    until("both are gone", || processes_of(&script) == 0).await;
}

#[tokio::test]
async fn a_shutdown_counts_none_that_a_reload_has_killed() {
    let pool = odd(1).start().await.unwrap();
    let _: u32 = pool.call("stubborn", &()).await.unwrap();
    assert_eq!(pool.reload(Duration::ZERO).await.unwrap().killed, 1);
    assert_eq!(pool.shutdown(LONG).await.killed, 0);
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_than_it_may_for_a_worker_that_was_replaced() {
    let pool = odd(1).start().await.unwrap();
    let old: u32 = pool.call("stubborn", &()).await.unwrap();
    let reload = reload(&pool, LONG * 100);
    until("another worker has the slot", || pids(&pool) != [old]).await;
    let stopped = timeout(LONG, pool.shutdown(Duration::ZERO)).await;
    assert_eq!(stopped.unwrap().killed, 1);
    assert!(!is_alive(old));
    let _ = reload.await.unwrap();
}

#[test]
fn a_runtime_that_ends_takes_the_worker_that_is_being_started_with_it() {
    let files = Scratch::new();
    let (mark, gate) = (files.path().join("mark"), files.path().join("gate"));
    let script = Script::new(&files);
    let [first, second] = [(); 2].map(|()| tokio::runtime::Runtime::new().unwrap());
    let pool = first.block_on(async {
        let pool = script.pool(1).start().await.unwrap();
        script.wait_at(&mark, &gate);
        let _reload = reload(&pool, LONG);
        until("the next one starts", || mark.exists()).await;
        pool
    });
    assert_eq!(processes_of(&script), 2);
    drop(first);
    second.block_on(until("both are gone", || processes_of(&script) == 0));
    let error = second.block_on(pool.reload(LONG)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
}

#[test]
fn a_runtime_that_ends_ends_the_calls_of_both_workers() {
    let files = Scratch::new();
    let [first, second] = [(); 2].map(|()| tokio::runtime::Runtime::new().unwrap());
    let pool = first.block_on(odd(1).start()).unwrap();
    let old = pids(&pool);
    let calls = second.block_on(async {
        let early = held(&pool, &files.path().join("never"));
        until("the worker has the call", || pool.stats().in_flight == 1).await;
        let asked = pool.clone();
        first.spawn(async move { asked.reload(LONG).await });
        until("another worker has the slot", || pids(&pool) != old).await;
        let late = held(&pool, &files.path().join("never"));
        until("the next one has a call", || pool.stats().in_flight == 2).await;
        [early, late]
    });
    first.shutdown_background();
    for call in calls {
        let error = second.block_on(call).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ShutDown);
    }
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test]
async fn a_pool_that_is_shut_down_has_nothing_to_reload() {
    let pool = odd(1).start().await.unwrap();
    pool.shutdown(LONG).await;
    let error = pool.reload(LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
}
