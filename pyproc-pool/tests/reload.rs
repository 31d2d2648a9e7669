//! Workers that are replaced while calls go on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/reload.rs"]
mod reload_support;
mod support;

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use pyproc_pool::{
    Error, Pool,
    observe::{
        CallObserver, CallStart, Observer, RecordOrigin, RequestMetadata, Wants, WorkerRecord,
    },
};
use reload_support::{pid, reload, signal};
use serde_json::Value;
use support::{
    LONG, Scratch, cores, echoes, held, is_alive, leaves_nothing, odd, ours, pids, poll_once,
    script, until,
};

/// Takes no report before it may, and then writes down who reported, and when that process began.
#[derive(Debug, Default)]
struct Slow {
    may: Mutex<bool>,
    changed: Condvar,
    seen: Mutex<BTreeSet<(u64, usize, Option<u32>)>>,
}

impl Slow {
    fn go_on(&self) {
        *self.may.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Observer for Slow {
    fn begin(
        &self,
        _: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        None
    }

    fn wants(&self) -> Wants {
        Wants {
            metrics: true,
            ..Wants::default()
        }
    }

    fn record(&self, from: RecordOrigin, record: WorkerRecord) {
        let may = self.may.lock().unwrap();
        drop(self.changed.wait_while(may, |may| !*may).unwrap());
        if let WorkerRecord::Metrics(metrics) = record {
            let seen = (metrics.start, from.worker, from.pid);
            self.seen.lock().unwrap().insert(seen);
        }
    }
}

#[tokio::test]
async fn every_worker_is_replaced_and_no_call_fails() {
    let sockets = Scratch::new();
    let pool = odd(2).socket_dir(sockets.path()).start().await.unwrap();
    let (before, capacity) = (pids(&pool), pool.stats().capacity);
    let (over, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (pool, over, calls) = (pool.clone(), Arc::clone(&over), Arc::clone(&calls));
            tokio::spawn(async move {
                while !over.load(Relaxed) {
                    echoes(&pool).await;
                    calls.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    until("calls are made", || calls.load(Relaxed) > 100).await;
    let report = pool.reload(LONG).await.unwrap();
    let made = calls.load(Relaxed);
    until("calls go on", || calls.load(Relaxed) > made + 100).await;
    over.store(true, Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(report.killed, 0);
    assert!(!before.iter().any(|pid| is_alive(*pid)), "{before:?}");
    let after = pids(&pool);
    assert_eq!(after.len(), 2);
    assert!(!after.iter().any(|pid| before.contains(pid)));
    assert_eq!(pool.stats().restarts, 2);
    assert_eq!(pool.stats().capacity, capacity);
    leaves_nothing(pool, &sockets, &after).await;
}

#[tokio::test]
async fn a_worker_that_is_replaced_finishes_its_call_while_the_next_one_serves() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).start().await.unwrap();
    let old = pids(&pool)[0];
    let running = held(&pool, &gate);
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = reload(&pool, LONG);
    until("another worker has the slot", || pids(&pool) != [old]).await;
    assert_ne!(pid(&pool).await.unwrap(), old);
    assert_eq!(pool.health().workers[0].in_flight, 1);
    assert!(is_alive(old) && !running.is_finished() && !reload.is_finished());
    fs::write(&gate, "").unwrap();
    assert_eq!(running.await.unwrap().unwrap(), "seen");
    assert_eq!(reload.await.unwrap().unwrap().killed, 0);
    assert!(!is_alive(old));
}

#[tokio::test]
async fn workers_of_ours_finish_concurrent_calls_while_the_next_one_serves() {
    for core in cores() {
        let dir = Scratch::new();
        let pool = ours("cores.py", &core).start().await.unwrap();
        let held = {
            let (pool, dir) = (pool.clone(), dir.path().to_owned());
            tokio::spawn(async move { pool.call::<_, Value>("hold", &dir).await })
        };
        let early = {
            let pool = pool.clone();
            tokio::spawn(async move { pool.call::<_, u32>("meet", &2).await })
        };
        until("the worker has both", || pool.stats().in_flight == 2).await;
        let old = pids(&pool);
        let reload = reload(&pool, LONG);
        until("another worker has the slot", || pids(&pool) != old).await;
        // Two that meet are in one process: neither is the one that waits in the old worker.
        let (left, right) = tokio::join!(
            pool.call::<_, u32>("meet", &2),
            pool.call::<_, u32>("meet", &2)
        );
        assert_eq!((left.unwrap(), right.unwrap()), (2, 2), "{core}");
        assert!(!early.is_finished());
        early.abort();
        fs::write(dir.path().join("open"), "").unwrap();
        assert_eq!(held.await.unwrap().unwrap(), "held", "{core}");
        assert_eq!(reload.await.unwrap().unwrap().killed, 0, "{core}");
    }
}

#[tokio::test]
async fn a_reload_that_is_dropped_finishes_with_the_worker_that_it_had_begun_with() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(2).start().await.unwrap();
    let before = pids(&pool);
    let running = held(&pool, &gate);
    until("a worker has the call", || pool.stats().in_flight == 1).await;
    let mut first = Box::pin(pool.reload(LONG));
    tokio::select! {
        _ = &mut first => panic!("a worker still has a call"),
        () = until("a worker is replaced", || pids(&pool) != before) => {}
    }
    drop(first);
    let mut second = Box::pin(pool.reload(LONG));
    assert!(poll_once(second.as_mut()).is_pending(), "one after another");
    fs::write(&gate, "").unwrap();
    running.await.unwrap().unwrap();
    second.await.unwrap();
    assert_eq!(pool.stats().restarts, 3);
    assert!(!before.iter().any(|pid| is_alive(*pid)));
}

#[tokio::test]
async fn two_reloads_at_once_both_end() {
    let pool = odd(2).start().await.unwrap();
    let (first, second) = tokio::join!(pool.reload(LONG), pool.reload(LONG));
    assert_eq!((first.unwrap().killed, second.unwrap().killed), (0, 0));
    assert_eq!(pool.stats().restarts, 4);
    echoes(&pool).await;
}

#[tokio::test]
async fn a_call_of_an_old_worker_is_cancelled_and_its_late_answer_is_dropped() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = odd(1).start().await.unwrap();
    let old = pids(&pool);
    let running = held(&pool, &gate);
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = reload(&pool, LONG);
    until("another worker has the slot", || pids(&pool) != old).await;
    running.abort();
    until("it is given up", || pool.stats().abandoned == 1).await;
    assert_eq!(pool.stats().in_flight, 1);
    fs::write(&gate, "").unwrap();
    assert_eq!(reload.await.unwrap().unwrap().killed, 0);
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test]
async fn calls_that_an_old_worker_has_leave_the_next_one_its_room() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let builder = odd(1).max_in_flight(1).max_queue(0);
    let pool = builder.start().await.unwrap();
    let old = pids(&pool);
    let running = held(&pool, &gate);
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = reload(&pool, LONG);
    until("another worker has the slot", || pids(&pool) != old).await;
    let next = pids(&pool)[0];
    assert_eq!(pid(&pool).await.unwrap(), next);
    assert_eq!(pool.try_call::<_, u32>("pid", &()).await.unwrap(), next);
    fs::write(&gate, "").unwrap();
    running.await.unwrap().unwrap();
    reload.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_worker_that_drains_is_let_go_while_the_one_before_it_still_has_calls() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let pool = ours("lingers.py", "python").start().await.unwrap();
    let old = pids(&pool);
    let running = held(&pool, &gate);
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = reload(&pool, LONG);
    until("another worker has the slot", || pids(&pool) != old).await;
    let next = pids(&pool);
    signal(next[0], "-TERM");
    until("a third has the slot", || {
        let now = pids(&pool);
        !now.is_empty() && now != next
    })
    .await;
    assert!(!running.is_finished());
    fs::write(&gate, "").unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(reload.await.unwrap().unwrap().killed, 0);
}

#[tokio::test]
async fn a_worker_that_is_gone_leaves_no_socket() {
    let sockets = Scratch::new();
    let pool = odd(1).socket_dir(sockets.path()).start().await.unwrap();
    pool.reload(LONG).await.unwrap();
    let _: u32 = pool.call("stubborn", &()).await.unwrap();
    pool.reload(Duration::ZERO).await.unwrap();
    let dir = fs::read_dir(sockets.path()).unwrap().next().unwrap();
    let files = fs::read_dir(dir.unwrap().path()).unwrap();
    let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|it| it.ends_with(".sock")).collect();
    assert_eq!(left, ["worker-0.3.sock"]);
}

#[tokio::test]
async fn what_an_old_worker_reported_stays_its_own_however_late_it_is_looked_at() {
    let slow = Arc::new(Slow::default());
    let builder = ours("cores.py", "python").workers(2);
    let pool = builder.observer(slow.clone()).start().await.unwrap();
    let mut processes = pids(&pool);
    pool.reload(LONG).await.unwrap();
    processes.extend(pids(&pool));
    slow.go_on();
    pool.shutdown(LONG).await;
    let seen = slow.seen.lock().unwrap().clone();
    let began: BTreeSet<_> = seen.iter().map(|(start, ..)| *start).collect();
    let pids: BTreeSet<_> = seen.iter().filter_map(|(.., pid)| *pid).collect();
    assert_eq!(seen.len(), began.len(), "{seen:?}");
    assert_eq!(pids, processes.into_iter().collect(), "{seen:?}");
}

#[tokio::test]
async fn external_workers_are_not_reloaded() {
    let sockets = Scratch::new();
    let socket = sockets.path().join("sidecar.sock");
    let sidecar = std::process::Command::new(support::python())
        .arg(script("odd.py"))
        .env("PYPROC_SOCKET_PATH", &socket)
        .spawn();
    let _sidecar = support::Killed(sidecar.unwrap());
    let builder = Pool::builder().external_sockets([&socket]);
    let pool = builder.start_timeout(LONG).start().await.unwrap();
    let Error::Config(error) = pool.reload(LONG).await.unwrap_err() else {
        panic!("it is the setting's fault");
    };
    assert_eq!(error.field, "external_sockets");
    echoes(&pool).await;
}
