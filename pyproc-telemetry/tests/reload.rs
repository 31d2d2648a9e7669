//! What is counted while workers are replaced.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/python.rs"]
mod python;
#[path = "support/sidecar.rs"]
mod sidecar;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use pyproc_pool::{Error, Pool, PoolBuilder, ReloadReport, RestartConfig};
use pyproc_telemetry::{
    Exemplars, MetricsFormat, PoolBuilderExt, PoolMetrics, prometheus::Registry, render_metrics,
};
use serde_json::{Value, json};
use sidecar::Sockets;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(60);

fn text(registry: &Registry) -> String {
    render_metrics(registry, &Exemplars::default(), MetricsFormat::Text).unwrap()
}

/// Waits until this line is among the metrics.
async fn shows(registry: &Registry, line: &str) {
    let begin = Instant::now();
    loop {
        let text = text(registry);
        if text.lines().any(|it| it == line) {
            return;
        }
        assert!(begin.elapsed() < LONG, "{line} is not in\n{text}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One worker that counts.
fn counting() -> PoolBuilder {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/counting.py");
    python::shop().worker_script(script)
}

async fn sell(pool: &Pool, count: u32) {
    let input = json!({ "count": count });
    pool.call::<_, Value>("sell", &input).await.unwrap();
}

/// A call that sells so many when there is such a file.
fn sell_later(pool: &Pool, gate: &Path, count: u32) -> JoinHandle<Result<Value, Error>> {
    let (pool, input) = (pool.clone(), json!({"gate": gate, "count": count}));
    tokio::spawn(async move { pool.call("sell_later", &input).await })
}

fn reload(pool: &Pool) -> JoinHandle<Result<ReloadReport, Error>> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.reload(LONG).await })
}

#[tokio::test]
async fn counts_of_the_old_worker_and_the_new_one_add_up() {
    let dir = Sockets::new();
    let gate = dir.path("gate");
    let registry = Registry::new();
    let metrics = PoolMetrics::register(&registry).unwrap();
    let pool = counting().with_metrics(&metrics).start().await.unwrap();
    let _watch = metrics.watch(&pool);
    sell(&pool, 2).await;
    shows(&registry, "shop_sold_total 2").await;
    let later = sell_later(&pool, &gate, 5);
    shows(&registry, r#"pyproc_requests_in_flight{worker_id="0"} 1"#).await;
    let reload = reload(&pool);
    let reloads = r#"pyproc_worker_restarts_total{reason="reload",worker_id="0"}"#;
    shows(&registry, &format!("{reloads} 1")).await;
    sell(&pool, 1).await;
    shows(&registry, "shop_sold_total 3").await;
    assert!(!reload.is_finished());
    fs::write(&gate, "").unwrap();
    later.await.unwrap().unwrap();
    reload.await.unwrap().unwrap();
    shows(&registry, "shop_sold_total 8").await;
    shows(&registry, r#"shop_shelves{worker_id="0"} 3"#).await;

    // Once more: what the first had counted is kept when the third comes.
    pool.reload(LONG).await.unwrap();
    sell(&pool, 1).await;
    shows(&registry, "shop_sold_total 9").await;
    pool.reload(LONG).await.unwrap();
    sell(&pool, 1).await;
    shows(&registry, "shop_sold_total 10").await;
    shows(&registry, r#"shop_shelves{worker_id="0"} 3"#).await;
    shows(&registry, r#"pyproc_workers_total{status="active"} 1"#).await;
    shows(
        &registry,
        r#"pyproc_worker_restarts_total{reason="crash",worker_id="0"} 0"#,
    )
    .await;
}

#[tokio::test]
async fn gauges_of_the_old_worker_go_with_it_though_the_new_one_has_none() {
    let registry = Registry::new();
    let metrics = PoolMetrics::register(&registry).unwrap();
    let pool = counting().with_metrics(&metrics).start().await.unwrap();
    let input = json!({ "count": 4 });
    pool.call::<_, Value>("enter", &input).await.unwrap();
    shows(&registry, r#"shop_customers{door="front",worker_id="0"} 4"#).await;
    pool.reload(LONG).await.unwrap();
    let text = text(&registry);
    assert!(!text.contains("shop_customers"), "{text}");
}

#[tokio::test]
async fn an_old_worker_counts_once_though_the_new_one_dies_before_it_ends() {
    let dir = Sockets::new();
    let gate = dir.path("gate");
    let registry = Registry::new();
    let metrics = PoolMetrics::register(&registry).unwrap();
    let restart = RestartConfig {
        initial_backoff: Duration::from_millis(1),
        ..RestartConfig::default()
    };
    let builder = counting().restart(restart).with_metrics(&metrics);
    let pool = builder.start().await.unwrap();
    let _watch = metrics.watch(&pool);
    sell(&pool, 2).await;
    shows(&registry, "shop_sold_total 2").await;
    let later = sell_later(&pool, &gate, 5);
    shows(&registry, r#"pyproc_requests_in_flight{worker_id="0"} 1"#).await;
    let reload = reload(&pool);
    let reloads = r#"pyproc_worker_restarts_total{reason="reload",worker_id="0"}"#;
    shows(&registry, &format!("{reloads} 1")).await;
    for sold in 3..=6 {
        sell(&pool, 1).await;
        shows(&registry, &format!("shop_sold_total {sold}")).await;
        pool.call::<_, Value>("die", &()).await.unwrap_err();
    }
    assert!(!reload.is_finished());
    fs::write(&gate, "").unwrap();
    later.await.unwrap().unwrap();
    reload.await.unwrap().unwrap();
    shows(&registry, "shop_sold_total 11").await;
}
