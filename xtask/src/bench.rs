//! `cargo xtask bench`

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::python::PythonArg;
use crate::venv::{self, Requirement};
use crate::{process, workspace};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Measure for a shorter time, with less exact results.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    python: PythonArg,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let python = args.python.find()?;
    let ours = venv::ensure("ours", &python, &Requirement::ours("fast"))?;
    let suited = python.for_published_worker()?;
    let published = venv::ensure("published-0.1.0", &suited, &Requirement::published("0.1.0"))?;
    let results = workspace::target_dir().join("bench/results.json");
    if let Some(directory) = results.parent() {
        std::fs::create_dir_all(directory).context("cannot create the results' directory")?;
    }
    process::run(&mut benchmark(&ours, &published, &results, args.quick))
}

fn benchmark(ours: &Path, published: &Path, results: &Path, quick: bool) -> Command {
    let mut cargo = process::cargo();
    cargo.args([
        "bench",
        "--package",
        "pyproc-pool",
        "--bench",
        "calls",
        "--",
    ]);
    cargo.arg("--published").arg(published);
    cargo.arg("--ours").arg(ours);
    cargo.arg("--json").arg(results);
    if quick {
        cargo.arg("--quick");
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_interpreters_and_the_results_file_are_passed_on() {
        let run = |quick| {
            let command = benchmark("ours".as_ref(), "old".as_ref(), "r.json".as_ref(), quick);
            process::arguments(&command)
        };
        let slow = run(false);
        let passed_on = slow.split(|argument| argument == "--").nth(1).unwrap();
        assert_eq!(
            passed_on,
            ["--published", "old", "--ours", "ours", "--json", "r.json"]
        );
        assert_eq!(run(true).last().unwrap(), "--quick");
    }
}
