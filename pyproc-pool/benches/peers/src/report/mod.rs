//! The results of a run: medians, a table, verdicts, a drawing.

mod plot;
mod verdict;

use std::{fs, path::Path};

use crate::{
    plan::{Placement, Runtime, Work},
    row::Row,
};
use anyhow::{Context, Result};

pub(crate) use plot::draw;
pub(crate) use verdict::print_verdicts;

/// All measurements of a run, grouped by kind, in the order of their first appearance.
#[derive(Default)]
pub(crate) struct Report(Vec<(Kind, Vec<Row>)>);

/// Measurements with the same kind are repetitions of each other.
#[derive(PartialEq)]
struct Kind {
    peer: String,
    work: Work,
    runtime: Runtime,
    placement: Placement,
    mode: String,
    workers: usize,
    in_flight: usize,
    rate_per_s: u32,
}

impl Kind {
    fn of(row: &Row) -> Self {
        Self {
            peer: row.peer.clone(),
            work: row.work,
            runtime: row.runtime,
            placement: row.placement,
            mode: row.mode.clone(),
            workers: row.workers,
            in_flight: row.in_flight,
            rate_per_s: row.rate_per_s,
        }
    }
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        let kind = Kind::of(&row);
        match self.0.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, rows)) => rows.push(row),
            None => self.0.push((kind, vec![row])),
        }
    }

    pub(crate) fn has(&self, peer: &str) -> bool {
        self.0.iter().any(|(kind, _)| kind.peer == peer)
    }

    pub(crate) fn medians(&self) -> Vec<Row> {
        self.0.iter().map(|(_, rows)| median(rows)).collect()
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
        p999_us: of(|row| row.p999_us),
        calls_per_s: of(|row| row.calls_per_s),
        cpu_us_client: of(|row| row.cpu_us_client),
        cpu_us_worker: of(|row| row.cpu_us_worker),
        heap_client_kib: of(|row| row.heap_client_kib as f64) as u64,
        rss_client_kib: of(|row| row.rss_client_kib as f64) as u64,
        rss_worker_kib: of(|row| row.rss_worker_kib as f64) as u64,
        spawn_ms: of(|row| row.spawn_ms),
        calls: rows.iter().map(|row| row.calls).sum(),
        repeats: rows.len(),
        ..rows[0].clone()
    }
}

pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<8} {:<19} {:<14} {:<5} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9} {:>9} {:>8}",
        "work",
        "peer",
        "runtime",
        "place",
        "workers",
        "load",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "calls/s",
        "CPU µs",
        "+ worker",
        "RSS KiB",
        "+ worker",
        "spawn ms"
    );
    for row in rows {
        println!(
            "{:<8} {:<19} {:<14} {:<5} {:>7} {:>9} {:>9.1} {:>9.1} {:>9.1} {:>9.0} {:>8.2} {:>8.2} {:>9} {:>9} {:>8.0}",
            row.work.name(),
            row.peer,
            row.runtime.name(),
            row.placement.name(),
            row.workers,
            load(row),
            row.p50_us,
            row.p99_us,
            row.p999_us,
            row.calls_per_s,
            row.cpu_us_client,
            row.cpu_us_worker,
            row.rss_client_kib,
            row.rss_worker_kib,
            row.spawn_ms,
        );
    }
    println!(
        "load: calls in flight, or calls a second at a fixed rate (latency from when a call was due). \
         place: `apart` has the client on the first core and the workers on the second. \
         CPU is for each call, of the idle rows for each second."
    );
}

fn load(row: &Row) -> String {
    match row.rate_per_s {
        0 => row.in_flight.to_string(),
        rate => format!("{rate}/s"),
    }
}

pub(crate) fn write(rows: &[Row], path: &Path) -> Result<()> {
    fs::write(path, serde_json::to_vec_pretty(rows)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

pub(crate) fn read(path: &Path) -> Result<Vec<Row>> {
    let bytes = fs::read(path).with_context(|| {
        format!(
            "cannot read {}; `cargo xtask bench` writes it",
            path.display()
        )
    })?;
    serde_json::from_slice(&bytes).context("these are not the rows of a benchmark")
}

/// A row without measurements, for tests.
#[cfg(test)]
fn row(peer: &str, work: Work, in_flight: usize) -> Row {
    use crate::plan::{Session, Step};

    let session = Session {
        peer: peer.into(),
        work,
        workers: 1,
        runtime: Runtime::CurrentThread,
        placement: Placement::Apart,
        python: "python".into(),
        burn_rounds: 0,
        steps: Vec::new(),
    };
    let seconds = 1.0;
    Row::new(&session, Step::ClosedLoop { in_flight, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_of_a_measurement_become_one_row_with_the_median() {
        let mut report = Report::default();
        for (in_flight, p50_us) in [(1, 3.0), (64, 9.0), (1, 1.0), (1, 2.0)] {
            let mut row = row("a", Work::W1, in_flight);
            (row.p50_us, row.calls) = (p50_us, 10);
            report.add(row);
        }
        let rows = report.medians();
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.in_flight, row.p50_us, row.calls, row.repeats))
            .collect();
        assert_eq!(seen, [(1, 2.0, 30, 3), (64, 9.0, 10, 1)]);
    }
}
