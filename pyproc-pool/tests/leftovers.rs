//! What a worker leaves behind is tidied up as without a pool, whatever ended it, and no process stays.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use pyproc_pool::{Pool, WorkerState};
use serde_json::Value;
use support::{LONG, Scratch, cores, is_alive, ours, until};

/// A worker that has shared memory and a semaphore.
struct Owner {
    pool: Pool,
    files: Vec<PathBuf>,
}

impl Owner {
    async fn start(core: &str) -> Self {
        let pool = ours("leftovers.py", core).start().await.unwrap();
        let names: Vec<String> = pool.call("names", &()).await.unwrap();
        let files: Vec<_> = names
            .iter()
            .map(|name| Path::new("/dev/shm").join(name))
            .collect();
        assert!(files.iter().all(|file| file.exists()), "{files:?}");
        Self { pool, files }
    }

    fn has_left_anything(&self) -> bool {
        self.files.iter().any(|file| file.exists())
    }

    async fn child(&self, how: &str) -> u32 {
        self.pool.call("child", how).await.unwrap()
    }
}

async fn each(test: impl AsyncFn(Owner)) {
    for core in cores() {
        test(Owner::start(&core).await).await;
    }
}

#[tokio::test]
async fn a_shutdown_in_order_leaves_nothing() {
    each(async |it| {
        assert_eq!(it.pool.shutdown(LONG).await.killed, 0);
        assert!(!it.has_left_anything(), "{:?}", it.files);
    })
    .await;
}

#[tokio::test]
async fn a_kill_at_the_shutdown_leaves_nothing() {
    each(async |it| {
        let files = Scratch::new();
        let (pool, mark) = (it.pool.clone(), files.path().join("hangs"));
        let seen = mark.clone();
        tokio::spawn(async move { pool.call::<_, Value>("hang", &mark).await });
        until("the function runs", || seen.exists()).await;
        assert_eq!(it.pool.shutdown(Duration::ZERO).await.killed, 1);
        assert!(!it.has_left_anything(), "{:?}", it.files);
    })
    .await;
}

#[tokio::test]
async fn a_death_leaves_nothing() {
    each(async |it| {
        it.pool.call::<_, Value>("die", &()).await.unwrap_err();
        until("it is tidied up", || !it.has_left_anything()).await;
    })
    .await;
}

#[tokio::test]
async fn a_reload_leaves_nothing_of_the_worker_before() {
    each(async |it| {
        assert_eq!(it.pool.reload(LONG).await.unwrap().killed, 0);
        until("it is tidied up", || !it.has_left_anything()).await;
    })
    .await;
}

#[tokio::test]
async fn the_drop_of_the_last_handle_leaves_nothing() {
    each(async |it| {
        let Owner { pool, files } = it;
        drop(pool);
        until("it is tidied up", || {
            !files.iter().any(|file| file.exists())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn processes_that_a_worker_started_have_ended_when_a_shutdown_has() {
    for how in ["mild", "stubborn"] {
        each(async |it| {
            let child = it.child(how).await;
            it.pool.shutdown(LONG).await;
            until("it is gone", || !is_alive(child)).await;
            assert!(!it.has_left_anything(), "{:?}", it.files);
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_dead_worker_has_left_running_ends_too() {
    each(async |it| {
        let child = it.child("stubborn").await;
        it.pool.call::<_, Value>("die", &()).await.unwrap_err();
        let ready = || it.pool.health().workers[0].state == WorkerState::Ready;
        until("it is replaced", || {
            it.pool.stats().restarts == 1 && ready()
        })
        .await;
        until("the child is gone", || !is_alive(child)).await;
    })
    .await;
}
