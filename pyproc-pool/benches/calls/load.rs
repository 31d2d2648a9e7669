//! A number of callers that each make one call after another.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pyproc_pool::Pool;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{
    process::{Usage, own_usage, place_apart, rss_kib},
    report::Row,
};

#[derive(Serialize)]
struct Input {
    value: u32,
}

#[derive(Deserialize)]
struct Output {
    result: u32,
}

pub(crate) async fn run(peer: &str, pool: &Pool, in_flight: usize, time: Duration) -> Result<Row> {
    let worker = pool.health().workers[0].pid.unwrap_or_default();
    place_apart(worker)?;
    // The depth of the connection settles, and caches fill.
    callers(pool, in_flight, time / 10).await?;
    let before = (own_usage(), Usage::of(worker));
    let begin = Instant::now();
    let latencies = callers(pool, in_flight, time).await?;
    let elapsed = begin.elapsed();
    let after = (own_usage(), Usage::of(worker));
    let mut row = latencies.into_row(peer, "W1", in_flight, elapsed);
    row.set_cpu(before.0.until(after.0), before.1.until(after.1));
    row.rss_client_kib = rss_kib(std::process::id());
    row.rss_worker_kib = rss_kib(worker);
    Ok(row)
}

async fn callers(pool: &Pool, callers: usize, time: Duration) -> Result<Latencies> {
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(caller(pool.clone(), end));
    }
    let mut all = Latencies::default();
    while let Some(latencies) = tasks.join_next().await {
        all.0.extend(latencies??.0);
    }
    Ok(all)
}

async fn caller(pool: Pool, end: Instant) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut sent = Instant::now();
    while sent < end {
        let output: Output = pool.call("predict", &Input { value: 42 }).await?;
        ensure!(output.result == 84, "a wrong answer");
        let answered = Instant::now();
        latencies.add(answered - sent);
        sent = answered;
    }
    Ok(latencies)
}

/// How long calls took, in nanoseconds.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0
            .push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    pub(crate) fn into_row(
        mut self,
        peer: &str,
        work: &str,
        in_flight: usize,
        time: Duration,
    ) -> Row {
        self.0.sort_unstable();
        let calls = self.0.len();
        let quantile = |q: f64| {
            let place = (calls.saturating_sub(1) as f64 * q) as usize;
            f64::from(self.0.get(place).copied().unwrap_or_default()) / 1000.0
        };
        Row {
            peer: peer.into(),
            work: work.into(),
            workers: 1,
            in_flight,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            calls_per_s: calls as f64 / time.as_secs_f64(),
            calls,
            ..Row::default()
        }
    }
}
