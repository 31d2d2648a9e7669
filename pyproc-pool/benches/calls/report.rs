use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::Result;
use serde::Serialize;

/// One measurement, or the median of several.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) peer: String,
    pub(crate) work: String,
    pub(crate) workers: usize,
    pub(crate) in_flight: usize,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) calls_per_s: f64,
    /// Processor time for each call.
    pub(crate) cpu_us_client: f64,
    pub(crate) cpu_us_worker: f64,
    pub(crate) rss_client_kib: u64,
    pub(crate) rss_worker_kib: u64,
    #[serde(skip)]
    pub(crate) calls: usize,
}

impl Row {
    pub(crate) fn set_cpu(&mut self, client: Duration, worker: Duration) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.calls.max(1) as f64;
        (self.cpu_us_client, self.cpu_us_worker) = (each(client), each(worker));
    }
}

/// All measurements of a run, those of the same kind together, in order of their first
/// appearance.
#[derive(Default)]
pub(crate) struct Report {
    order: Vec<Kind>,
    rows: BTreeMap<Kind, Vec<Row>>,
}

type Kind = (String, String, usize, usize);

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        let kind = (
            row.peer.clone(),
            row.work.clone(),
            row.workers,
            row.in_flight,
        );
        if !self.rows.contains_key(&kind) {
            self.order.push(kind.clone());
        }
        self.rows.entry(kind).or_default().push(row);
    }

    pub(crate) fn medians(&self) -> Vec<Row> {
        self.order
            .iter()
            .map(|kind| median(&self.rows[kind]))
            .collect()
    }
}

fn median(rows: &[Row]) -> Row {
    let of = |field: fn(&Row) -> f64| {
        let mut values: Vec<f64> = rows.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Row {
        p50_us: of(|row| row.p50_us),
        p99_us: of(|row| row.p99_us),
        calls_per_s: of(|row| row.calls_per_s),
        cpu_us_client: of(|row| row.cpu_us_client),
        cpu_us_worker: of(|row| row.cpu_us_worker),
        rss_client_kib: of(|row| row.rss_client_kib as f64) as u64,
        rss_worker_kib: of(|row| row.rss_worker_kib as f64) as u64,
        ..rows[0].clone()
    }
}

pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<16} {:<9} {:>9} {:>9} {:>9} {:>10} {:>11} {:>11} {:>11} {:>11}",
        "peer",
        "work",
        "in flight",
        "p50 µs",
        "p99 µs",
        "calls/s",
        "CPU client",
        "CPU worker",
        "RSS client",
        "RSS worker"
    );
    for row in rows {
        println!(
            "{:<16} {:<9} {:>9} {:>9.1} {:>9.1} {:>10.0} {:>8.2} µs {:>8.2} µs {:>7} KiB {:>7} KiB",
            row.peer,
            row.work,
            row.in_flight,
            row.p50_us,
            row.p99_us,
            row.calls_per_s,
            row.cpu_us_client,
            row.cpu_us_worker,
            row.rss_client_kib,
            row.rss_worker_kib,
        );
    }
}

pub(crate) fn write(rows: &[Row], path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, serde_json::to_vec_pretty(rows)?)?;
    println!("\nwritten to {}", path.display());
    Ok(())
}
