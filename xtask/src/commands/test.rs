//! `cargo xtask test`

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::commands::compat_test;
use crate::tools::python::{Python, PythonArg};
use crate::tools::venv::{self, Requirement};
use crate::tools::{process, prometheus};

#[derive(clap::Args, Debug, Default)]
pub(crate) struct Args {
    /// Run only the Rust tests, documentation tests included.
    #[arg(long, conflicts_with = "python_only")]
    rust_only: bool,
    /// Run only the Python tests.
    #[arg(long)]
    python_only: bool,
    #[command(flatten)]
    python: PythonArg,
}

impl Args {
    pub(crate) fn all(python: &PythonArg) -> Self {
        Self {
            python: python.clone(),
            ..Self::default()
        }
    }
}

/// Runs both test runners even if the first one fails, so that one run shows all failures.
pub(crate) fn run(args: &Args) -> Result<()> {
    let python = args.python.find()?;
    let ours = venv::ensure("test", &python, &Requirement::ours("test"))?;
    let mut runners = runners(args, &ours);
    let not_tested = add_real_parts(&mut runners, &python);
    let failures: Vec<_> = runners
        .iter_mut()
        .filter_map(|runner| process::run(runner).err())
        .map(|error| error.to_string())
        .collect();
    for reason in not_tested {
        eprintln!("NOT TESTED: {reason}");
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\nerror: "));
    }
    Ok(())
}

/// Sets the variables with the paths of external programs for the tests. If a variable is set, a test that needs the
/// program fails without it; otherwise the test reports that it did not run. Returns what is not tested then.
fn add_real_parts(runners: &mut [Command], python: &Python) -> Vec<String> {
    let parts = [
        ("PYPROC_PROMETHEUS", "Prometheus", prometheus::directory()),
        (
            "PYPROC_PUBLISHED_PYTHON",
            "the published worker, traced",
            compat_test::install_published(python),
        ),
    ];
    let mut missing = Vec::new();
    for (variable, name, part) in parts {
        match part {
            Ok(path) => runners.iter_mut().for_each(|runner| {
                runner.env(variable, &path);
            }),
            Err(error) => missing.push(format!("{name}: {error:#}")),
        }
    }
    missing
}

fn runners(args: &Args, python: &Path) -> Vec<Command> {
    let mut runners = Vec::new();
    if !args.python_only {
        runners.push(rust_tests(python));
    }
    if !args.rust_only {
        runners.push(python_tests(python));
    }
    runners
}

/// Both loops of the worker: neither may be left out silently.
const CORES: (&str, &str) = ("PYPROC_TEST_CORES", "python,native");

fn rust_tests(python: &Path) -> Command {
    let mut cargo = process::cargo();
    cargo
        .args(["test", "--workspace", "--all-features"])
        .env("PYPROC_PYTHON_EXEC", python)
        .env(CORES.0, CORES.1);
    cargo
}

fn python_tests(python: &Path) -> Command {
    let mut pytest = process::command(python);
    pytest
        .args(["-m", "pytest", "pyproc-py/tests"])
        .env(CORES.0, CORES.1);
    pytest
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn programs(args: &Args) -> Vec<Vec<String>> {
        runners(args, Path::new("/venv/python"))
            .iter()
            .map(process::arguments)
            .collect()
    }

    #[test]
    fn both_runners_run_unless_one_is_singled_out() {
        let rust = ["test", "--workspace", "--all-features"]
            .map(String::from)
            .to_vec();
        let python = ["-m", "pytest", "pyproc-py/tests"]
            .map(String::from)
            .to_vec();
        assert_eq!(programs(&Args::default()), [rust.clone(), python.clone()]);
        assert_eq!(
            programs(&Args {
                rust_only: true,
                ..Args::default()
            }),
            [rust]
        );
        assert_eq!(
            programs(&Args {
                python_only: true,
                ..Args::default()
            }),
            [python]
        );
    }

    #[test]
    fn both_runners_are_told_to_test_both_loops() {
        for runner in runners(&Args::default(), Path::new("/venv/python")) {
            let mut told = runner.get_envs();
            assert!(told.any(|it| it == (OsStr::new(CORES.0), Some(OsStr::new(CORES.1)))));
        }
    }

    #[test]
    fn rust_tests_are_told_which_python_has_our_package() {
        let command = rust_tests(Path::new("/venv/python"));
        let told = command
            .get_envs()
            .find(|(name, _)| *name == "PYPROC_PYTHON_EXEC");
        assert_eq!(
            told.and_then(|(_, value)| value),
            Some(OsStr::new("/venv/python"))
        );
    }
}
