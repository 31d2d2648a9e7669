//! The overhead of telemetry for each call: `cargo xtask bench --telemetry`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::python::Python;
use crate::tools::venv::{self, Requirement};
use crate::tools::{process, workspace};

const PACKAGE: &str = "pyproc-telemetry";

/// Measures, and writes the results to `bench/telemetry.json`, beside those of the other benchmark.
pub(super) fn run(python: &Python, quick: bool) -> Result<()> {
    // This environment has OpenTelemetry.
    let interpreter = venv::ensure("test", python, &Requirement::ours("test"))?;
    let home = workspace::target_dir().join("bench");
    fs::create_dir_all(&home).context("cannot create the results' directory")?;
    process::run(&mut observer())?;
    process::run(&mut calls(&interpreter, &home, quick))
}

/// The observer alone, notified many times.
fn observer() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["bench", "--quiet", "--package", PACKAGE]);
    cargo.args(["--bench", "observer"]);
    cargo
}

/// Real calls. The program builds itself a second time without the pool's hook, to compare.
fn calls(interpreter: &Path, home: &Path, quick: bool) -> Command {
    let mut cargo = process::cargo();
    cargo.args(["bench", "--quiet", "--package", PACKAGE]);
    cargo.args(["--bench", "calls", "--", "--python"]);
    cargo.arg(interpreter);
    cargo.arg("--json").arg(home.join("telemetry.json"));
    cargo.arg("--unobserved").arg(home.join("unobserved"));
    if quick {
        cargo.args(["--rounds", "5"]);
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_takes_fewer_rounds() {
        let arguments = |quick| {
            let command = calls("python".as_ref(), "home".as_ref(), quick);
            process::arguments(&command)
        };
        assert!(arguments(true).ends_with(&["--rounds".into(), "5".into()]));
        assert!(!arguments(false).contains(&"--rounds".into()));
    }
}
