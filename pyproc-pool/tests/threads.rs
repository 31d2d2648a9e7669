//! The pool's own threads end with the workers that they are for. A process of its own, so
//! that no other test's threads are counted.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/sidecar.rs"]
mod sidecar;
mod support;

use std::{fs, sync::Arc};

use pyproc_pool::{
    Error, Pool,
    observe::{CallObserver, CallStart, Observer, RequestMetadata, Wants},
    protocol::v2::telemetry::{MetricsRecord, Record},
};
use serde_json::Value;
use sidecar::{Reply, serve_reporting};
use support::{Scratch, is_alive, odd, until};
use tokio::sync::Mutex;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The pool's threads in this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("pyproc-"))
        .count()
}

#[tokio::test]
async fn a_detached_child_that_keeps_the_output_open_does_not_keep_a_thread() {
    let _alone = ALONE.lock().await;
    let files = Scratch::new();
    let file = files.path().join("pid");
    let pool = odd(1).start().await.unwrap();
    assert_eq!(
        threads(),
        3,
        "one keeps deadlines, one waits for the process, one reads its output"
    );
    let died = pool.call::<_, Value>("leave_detached_child", &file).await;
    assert!(matches!(died, Err(Error::WorkerDied(_))), "{died:?}");
    until("the worker is replaced", || pool.stats().restarts == 1).await;

    let child = fs::read_to_string(&file).unwrap();
    assert!(is_alive(child.parse().unwrap()));
    until("only the new worker's threads run", || threads() == 3).await;
    drop(pool);
    until("no thread runs", || threads() == 0).await;
    let killed = std::process::Command::new("kill")
        .args(["-9", &child])
        .status();
    assert!(killed.unwrap().success());
}

#[derive(Debug)]
struct WantsMetrics;

impl Observer for WantsMetrics {
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
}

#[tokio::test]
async fn what_workers_report_has_one_thread_from_the_first_record_to_the_end_of_the_pool() {
    let _alone = ALONE.lock().await;
    let sockets = Scratch::new();
    let paths = ["a", "b"].map(|name| sockets.path().join(name));
    for path in &paths {
        serve_reporting(path, |request| {
            Reply::echo(request, vec![Record::Metrics(MetricsRecord::default())])
        });
    }
    let builder = Pool::builder().external_sockets(&paths);
    let pool = builder
        .observer(Arc::new(WantsMetrics))
        .start()
        .await
        .unwrap();
    until("one keeps deadlines", || threads() == 1).await;
    for i in 0..10_u8 {
        assert_eq!(pool.call::<_, u8>("listed", &i).await.unwrap(), i);
    }
    until("one more takes records", || threads() == 2).await;
    drop(pool);
    until("no thread runs", || threads() == 0).await;
}
