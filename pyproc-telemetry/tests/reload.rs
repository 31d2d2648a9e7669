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
    time::{Duration, Instant},
};

use pyproc_pool::Pool;
use pyproc_telemetry::{
    Exemplars, MetricsFormat, PoolBuilderExt, PoolMetrics, prometheus::Registry, render_metrics,
};
use serde_json::{Value, json};
use sidecar::Sockets;

const LONG: Duration = Duration::from_secs(60);

/// Waits until this line is among the metrics.
async fn shows(registry: &Registry, line: &str) {
    let begin = Instant::now();
    loop {
        let text = render_metrics(registry, &Exemplars::default(), MetricsFormat::Text).unwrap();
        if text.lines().any(|it| it == line) {
            return;
        }
        assert!(begin.elapsed() < LONG, "{line} is not in\n{text}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn sell(pool: &Pool, count: u32) {
    let input = json!({ "count": count });
    pool.call::<_, Value>("sell", &input).await.unwrap();
}

#[tokio::test]
async fn counts_of_the_old_worker_and_the_new_one_add_up() {
    let dir = Sockets::new();
    let gate = dir.path("gate");
    let registry = Registry::new();
    let metrics = PoolMetrics::register(&registry).unwrap();
    let pool = python::shop().with_metrics(&metrics).start().await.unwrap();
    let _watch = metrics.watch(&pool);
    sell(&pool, 2).await;
    shows(&registry, "shop_sold_total 2").await;
    let later = {
        let (pool, input) = (pool.clone(), json!({"gate": gate, "count": 5}));
        tokio::spawn(async move { pool.call::<_, Value>("sell_later", &input).await })
    };
    shows(&registry, r#"pyproc_requests_in_flight{worker_id="0"} 1"#).await;
    let reload = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.reload(LONG).await })
    };
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
