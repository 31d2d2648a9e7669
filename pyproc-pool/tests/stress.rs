//! Calls of all sizes from several threads, while calls are cancelled, workers are killed and reloaded.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pyproc_pool::{Error, Pool};
use rustix::process::{Pid, Signal, kill_process};
use support::{LONG, cores, ours, pids, until};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

const CALLERS: usize = 100;
const FUNCTIONS: [&str; 4] = ["plain", "beside", "later", "slow"];

#[derive(Debug, Default)]
struct Seen {
    answers: AtomicU64,
    dropped: AtomicU64,
    late: AtomicU64,
    died: AtomicU64,
    refused: AtomicU64,
}

#[test]
#[ignore = "as long as PYPROC_STRESS_SECONDS says, or 20 s, for each loop of our worker"]
fn every_call_ends_with_its_own_answer_whatever_happens_meanwhile() {
    for core in cores() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(4).enable_all().build().unwrap();
        let seen = Arc::new(Seen::default());
        runtime.block_on(stress(&core, &seen));
        println!("{core}: {seen:?}");
        for count in [&seen.answers, &seen.dropped, &seen.late, &seen.died] {
            assert!(count.load(Ordering::Relaxed) > 0, "{core}: {seen:?}");
        }
    }
}

async fn stress(core: &str, seen: &Arc<Seen>) {
    let seconds = env::var("PYPROC_STRESS_SECONDS").map_or(20, |it| it.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let pool = ours("stress.py", core).workers(3).max_in_flight(32);
    let pool = pool.start().await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        tasks.spawn(calls(pool.clone(), Arc::clone(seen), end));
    }
    tasks.spawn(kills(pool.clone(), end));
    tasks.spawn(reloads(pool.clone(), end));
    while let Some(ended) = timeout(LONG, tasks.join_next())
        .await
        .unwrap_or_else(|_| panic!("somebody hangs"))
    {
        ended.unwrap();
    }
    let is_idle = || pool.stats().in_flight == 0;
    until("calls that were given up are answered, too", is_idle).await;
    pool.shutdown(LONG).await;
}

async fn calls(pool: Pool, seen: Arc<Seen>, end: Instant) {
    while Instant::now() < end {
        let function = FUNCTIONS[fastrand::usize(..FUNCTIONS.len())];
        let input = vec![fastrand::u8(..); size()];
        let request = pool.request_bytes(function, input.clone());
        let limit = match fastrand::u8(..20) {
            0 => Duration::from_micros(fastrand::u64(..5000)),
            _ => LONG,
        };
        let call = request.timeout(limit).call_bytes();
        let patience = match fastrand::u8(..20) {
            0 => Duration::from_micros(fastrand::u64(..5000)),
            _ => LONG,
        };
        let Ok(outcome) = timeout(patience, call).await else {
            assert!(patience < LONG, "a call hangs");
            seen.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let count = match outcome {
            Ok(answer) => {
                assert!(answer == input, "somebody else's answer");
                &seen.answers
            }
            Err(Error::Timeout { .. }) => {
                assert!(limit < LONG, "a call hangs");
                &seen.late
            }
            Err(Error::WorkerDied(_)) => &seen.died,
            Err(Error::Overloaded { .. }) => &seen.refused,
            Err(error) => panic!("{error:?}"),
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn size() -> usize {
    match fastrand::u8(..100) {
        0 => fastrand::usize(..1 << 20),
        1..10 => fastrand::usize(..1 << 17),
        _ => fastrand::usize(10..2000),
    }
}

async fn kills(pool: Pool, end: Instant) {
    while Instant::now() < end {
        sleep(Duration::from_millis(fastrand::u64(..1000))).await;
        let pids = pids(&pool);
        if let Some(pid) = fastrand::choice(pids) {
            // It may be gone already.
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
        }
    }
}

async fn reloads(pool: Pool, end: Instant) {
    while Instant::now() < end {
        sleep(Duration::from_millis(fastrand::u64(..500))).await;
        // A worker that is killed during the call makes it fail.
        let _ = pool.reload(Duration::from_secs(5)).await;
    }
}
