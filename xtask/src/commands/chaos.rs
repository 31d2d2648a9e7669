//! `cargo xtask chaos`

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::tools::process;
use crate::tools::python::PythonArg;
use crate::tools::venv::{self, Requirement};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Run for this many seconds with each core.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Draw the faults from this seed; a failure names it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Serve with this core of our worker only: `native` or `python`.
    #[arg(long, value_name = "CORE", value_parser = CORES)]
    core: Option<String>,
    #[command(flatten)]
    python: PythonArg,
}

const CORES: [&str; 2] = ["native", "python"];

impl Args {
    /// A short run for CI.
    pub(crate) fn short(python: &PythonArg) -> Self {
        Self {
            seconds: 20,
            seed: 0,
            core: None,
            python: python.clone(),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let python = venv::ensure("test", &args.python.find()?, &Requirement::ours("test"))?;
    CORES
        .iter()
        .filter(|core| args.core.as_deref().is_none_or(|only| only == **core))
        .try_for_each(|core| process::run(&mut campaign(args, core, &python)))
}

fn campaign(args: &Args, core: &str, python: &Path) -> Command {
    let mut cargo = process::cargo();
    cargo.args([
        "test",
        "--quiet",
        "--package",
        "pyproc-pool",
        "--test",
        "chaos",
        "--",
    ]);
    cargo.args(["--core", core]);
    cargo.arg("--seconds").arg(args.seconds.to_string());
    cargo.arg("--seed").arg(args.seed.to_string());
    cargo.env("PYPROC_PYTHON_EXEC", python);
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_campaign_gets_its_seed_and_its_time() {
        let args = Args {
            seed: 7,
            ..Args::short(&PythonArg::default())
        };
        let arguments = process::arguments(&campaign(&args, "native", "python".as_ref()));
        let expected = ["--core", "native", "--seconds", "20", "--seed", "7"];
        assert!(arguments.ends_with(&expected.map(String::from)));
    }
}
