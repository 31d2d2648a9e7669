//! `cargo xtask demo`

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::python::PythonArg;
use crate::venv::{self, Requirement};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Start this many workers [default: as many as there are cores].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    #[command(flatten)]
    python: PythonArg,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let python = venv::ensure("demo", &args.python.find()?, &Requirement::ours("fast"))?;
    process::run(&mut demo(&python, args.workers))
}

fn demo(python: &Path, workers: Option<usize>) -> Command {
    let mut cargo = process::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "pyproc-examples",
        "--bin",
        "demo",
    ]);
    cargo.arg("--").arg("--python").arg(python);
    if let Some(workers) = workers {
        cargo.arg("--workers").arg(workers.to_string());
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_workers_is_passed_on_only_when_given() {
        let without = process::arguments(&demo(Path::new("/venv/python"), None));
        assert!(without.ends_with(&["--", "--python", "/venv/python"].map(String::from)));
        let with = process::arguments(&demo(Path::new("/venv/python"), Some(3)));
        assert_eq!(with[without.len()..], ["--workers", "3"]);
    }
}
