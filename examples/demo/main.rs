//! Calls Python from Rust: first one function, then a census of Python's whole
//! standard library, taken by one worker and by many.

mod census;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use pyproc_pool::{Error, Pool};
use serde::Deserialize;
use serde_json::json;

use crate::census::{Census, Sources};

const WORKER_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/worker.py");

#[derive(Parser)]
#[command(about = "A census of Python's standard library by a pool of Python workers.")]
struct Args {
    /// Run the workers with this Python, which needs the package pyproc-worker.
    #[arg(
        long,
        value_name = "PATH",
        env = "PYPROC_PYTHON_EXEC",
        default_value = "python3"
    )]
    python: PathBuf,
    /// Start this many workers [default: as many as there are cores].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let workers = args.workers.unwrap_or_else(cores);
    let one = start(args, 1).await?;
    let many = start(args, workers).await?;

    call_one_function(&one).await?;
    let sources: Sources = one.call("list_sources", &()).await?;
    let [by_one, by_many] = compare([&one, &many], &sources).await?;
    report::print(&sources, workers, &by_one, &by_many);

    one.shutdown(Duration::from_secs(5)).await;
    many.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn start(args: &Args, workers: usize) -> Result<Pool, Error> {
    Pool::builder()
        .python_exec(&args.python)
        .worker_script(WORKER_SCRIPT)
        .workers(workers)
        .start()
        .await
}

async fn call_one_function(pool: &Pool) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Prediction {
        result: i64,
    }
    let prediction: Prediction = pool.call("predict", &json!({ "value": 42 })).await?;
    println!(r#"predict({{"value": 42}}) answers {}"#, prediction.result);
    Ok(())
}

/// Lets each pool do the whole job. The pools take turns at going first, so that neither benefits from caches that the
/// other one filled.
async fn compare(pools: [&Pool; 2], sources: &Sources) -> anyhow::Result<[Census; 2]> {
    sources.read_once().await?;
    let progress = progress_bar(2 * sources.files.len());
    let mut results = [Census::default(), Census::default()];
    let quarter = sources.files.len().div_ceil(4).max(1);
    for (turn, files) in sources.files.chunks(quarter).enumerate() {
        for index in [turn % 2, 1 - turn % 2] {
            results[index].take(pools[index], files, &progress).await?;
        }
    }
    progress.finish_and_clear();
    Ok(results)
}

/// Draws nothing if stderr is not a terminal.
fn progress_bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} files, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
