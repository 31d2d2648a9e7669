//! `cargo xtask demo`

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::tools::process;
use crate::tools::python::PythonArg;
use crate::tools::venv::{self, Requirement};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Start this many workers [default: as many as there are cores].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    #[command(flatten)]
    python: PythonArg,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let python = args.python.find()?;
    eprintln!("1 of 2: the Python package with its native core, and an environment for it");
    let python = venv::ensure("demo", &python, &Requirement::ours("fast"))?;
    eprintln!("2 of 2: the demo itself, in release mode");
    process::run(&mut demo(&python, args.workers))
}

fn demo(python: &Path, workers: Option<usize>) -> Command {
    let mut cargo = process::cargo();
    // Not `--quiet`: the first build takes minutes, and cargo shows its progress.
    cargo.args([
        "run",
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

    #[test]
    fn what_is_built_is_shown() {
        let demo = demo(Path::new("/venv/python"), None);
        assert!(!process::arguments(&demo).contains(&"--quiet".to_string()));
    }
}
