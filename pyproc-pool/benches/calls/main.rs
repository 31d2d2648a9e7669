//! What a call costs: `cargo xtask bench`.
//!
//! All peers take turns within each round, so that what the machine does besides hits all
//! alike; the table has the medians over the rounds. Compare within one run only.

mod floor;
mod load;
mod process;
mod report;

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use pyproc_pool::{Pool, WorkerOutput};

use crate::report::{Report, Row};

const IN_FLIGHT: [usize; 4] = [1, 8, 64, 256];

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    if args.next().as_deref() == Some("--pong") {
        return floor::pong(&args.next().context("--pong needs a socket")?);
    }
    let options = Options::parse()?;
    // Caller and connection share a thread here, which is the fastest arrangement.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let published = start(&options.published).await?;
    let ours = start(&options.ours).await?;
    let peers = [("published-0.1.0", &published), ("pyproc-pure", &ours)];
    let mut report = Report::default();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        report.add(floor::ping(options.time)?);
        for in_flight in IN_FLIGHT {
            for (name, pool) in peers {
                report.add(load::run(name, pool, in_flight, options.time).await?);
            }
        }
    }
    let rows = report.medians();
    report::print(&rows);
    verdicts(&rows);
    if let Some(path) = &options.json {
        report::write(&rows, path)?;
    }
    published.shutdown(Duration::from_secs(5)).await;
    ours.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn start(python: &Path) -> Result<Pool> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/calls/worker.py");
    let pool = Pool::builder()
        .workers(1)
        .max_in_flight(256)
        .python_exec(python)
        .worker_script(script)
        .output(WorkerOutput::Discard)
        .start()
        .await;
    pool.with_context(|| format!("no worker with {python:?}"))
}

/// The two ratios that this benchmark exists for.
fn verdicts(rows: &[Row]) {
    let find = |peer: &str, in_flight: usize| {
        rows.iter()
            .find(|row| row.peer == peer && row.in_flight == in_flight)
    };
    if let (Some(floor), Some(ours)) = (find(floor::PEER, 1), find("pyproc-pure", 1)) {
        println!(
            "\nsequential p50, ours / floor: {:.2}",
            ours.p50_us / floor.p50_us
        );
    }
    if let (Some(old), Some(ours)) = (find("published-0.1.0", 64), find("pyproc-pure", 64)) {
        let ratio = ours.calls_per_s / old.calls_per_s;
        println!("calls a second with 64 in flight, ours / published: {ratio:.2}");
    }
}

struct Options {
    published: PathBuf,
    ours: PathBuf,
    json: Option<PathBuf>,
    rounds: usize,
    /// Of one measurement.
    time: Duration,
}

impl Options {
    fn parse() -> Result<Self> {
        let (mut published, mut ours, mut json) = (None, None, None);
        let (mut rounds, mut time) = (5, Duration::from_secs(1));
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--published" => published = Some(value()?.into()),
                "--ours" => ours = Some(value()?.into()),
                "--json" => json = Some(value()?.into()),
                "--quick" => (rounds, time) = (3, Duration::from_millis(200)),
                // Cargo adds it.
                "--bench" => {}
                _ => bail!("unknown argument {arg}; run this by `cargo xtask bench`"),
            }
        }
        Ok(Self {
            published: published.context("--published PYTHON is missing")?,
            ours: ours.context("--ours PYTHON is missing")?,
            json,
            rounds,
            time,
        })
    }
}
