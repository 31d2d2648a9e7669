//! The overhead of log lines: `cargo xtask bench --logs`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::tools::process;
use crate::tools::python::Python;
use crate::tools::venv::{self, Requirement};

/// Runs all benchmarks, even if one does not meet its target.
pub(super) fn run(python: &Python) -> Result<()> {
    let interpreter = venv::ensure("test", python, &Requirement::ours("test"))?;
    let mut failures = Vec::new();
    for mut bench in [events(), flood(&interpreter), records(&interpreter)] {
        failures.extend(process::run(&mut bench).err().map(|it| it.to_string()));
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\nerror: "));
    }
    Ok(())
}

/// A line of a Rust event, compared with other formatters.
fn events() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["bench", "--quiet", "--package", "pyproc-logging"]);
    cargo
}

/// The calls of one worker while another floods the log.
fn flood(interpreter: &Path) -> Command {
    let mut cargo = process::cargo();
    cargo.args(["bench", "--quiet", "--package", "pyproc-examples"]);
    cargo.args(["--bench", "flood"]);
    cargo.env("PYPROC_PYTHON_EXEC", interpreter);
    cargo
}

/// A record of Python's `logging`, compared with the standard library's handler.
fn records(interpreter: &Path) -> Command {
    let mut python = process::command(interpreter);
    python.arg("pyproc-py/benches/log_handler.py");
    python
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::workspace;

    #[test]
    fn the_scripts_that_are_run_are_there() {
        for command in [
            events(),
            flood("python".as_ref()),
            records("python".as_ref()),
        ] {
            for argument in process::arguments(&command) {
                let is_path = argument.contains('/');
                assert!(
                    !is_path || workspace::root().join(&argument).is_file(),
                    "{argument}"
                );
            }
        }
    }
}
