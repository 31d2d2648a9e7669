//! `cargo xtask conformance`

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ArgGroup;

use crate::compat_test::{self, PUBLISHED};
use crate::prerequisite::Missing;
use crate::process;
use crate::python::{Python, PythonArg};
use crate::venv::{self, Requirement};
use crate::workspace;

const AFTER_HELP: &str = "\
Without COMMAND and --socket it tries both cores of our worker, the published worker, and one in JavaScript.
pyproc-protocol/CONFORMANCE.md says which functions a worker under test exposes, and what the verdicts mean.";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = AFTER_HELP, group = ArgGroup::new("worker").args(["command", "socket"]))]
pub(crate) struct Args {
    /// Fail if the worker does not reach this level: 1 (calls), 2 (version 2) or 3 (telemetry).
    #[arg(long, value_name = "N", requires = "worker", value_parser = clap::value_parser!(u8).range(1..=3))]
    level: Option<u8>,
    /// Try only this rule, such as 1-F3; may be given several times.
    #[arg(long, value_name = "RULE")]
    only: Vec<String>,
    /// A file with rules that the worker is known to break: in each line a rule and the reason.
    #[arg(long, value_name = "FILE", requires = "worker")]
    deviations: Option<PathBuf>,
    /// Try the worker that listens at this socket.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Without COMMAND: fail if a worker cannot be tried on this machine.
    #[arg(long, conflicts_with = "worker")]
    strict: bool,
    #[command(flatten)]
    python: PythonArg,
    /// Starts the worker, which listens at PYPROC_SOCKET_PATH.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    pub(crate) fn all(python: &PythonArg) -> Self {
        Self {
            strict: true,
            python: python.clone(),
            ..Self::default()
        }
    }
}

/// A worker to try.
#[derive(Debug, PartialEq)]
struct Subject {
    name: String,
    deviations: Option<PathBuf>,
    /// The level that it must reach.
    level: u8,
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(socket) = &args.socket {
        let socket = std::path::absolute(socket)?;
        return process::run(harness(args).arg("--socket").arg(socket));
    }
    if args.command.is_empty() {
        return try_all(args);
    }
    let directory = env::current_dir().context("cannot tell the current directory")?;
    let mut harness = harness(args);
    harness.arg("--directory").arg(directory).arg("--");
    process::run(harness.args(&args.command))
}

/// Tries each worker also when one has failed, so that one run shows all.
fn try_all(args: &Args) -> Result<()> {
    let python = args.python.find()?;
    let (mut failed, mut missing) = (Vec::new(), Vec::new());
    for subjects in [ours(&python), published(&python), javascript()] {
        match subjects {
            Ok(subjects) => failed.extend(subjects.into_iter().filter_map(|it| it.fails(args))),
            Err(error) if error.is::<Missing>() => missing.push(format!("{error:#}")),
            Err(error) => return Err(error),
        }
    }
    let result = if args.strict { "FAILED" } else { "SKIPPED" };
    for reason in &missing {
        eprintln!("{result}: {reason}");
    }
    if !failed.is_empty() {
        bail!("not conforming: {}", failed.join(", "));
    }
    if args.strict && !missing.is_empty() {
        bail!(Missing("not every worker could be tried".into()));
    }
    Ok(())
}

/// Each of its loops is a worker of its own.
fn ours(python: &Python) -> Result<Vec<Subject>> {
    let python = venv::ensure("test", python, &Requirement::ours("test"))?;
    let subject = |core: &str| Subject {
        name: format!("ours-{core}"),
        deviations: None,
        level: 3,
        command: vec![
            "env".into(),
            format!("PYPROC_WORKER_CORE={core}").into(),
            python.clone().into(),
            workers("worker.py").into(),
        ],
    };
    Ok(["python", "native"].map(subject).into())
}

/// The oldest release: it keeps few rules but those of calls, and the file says which not.
fn published(python: &Python) -> Result<Vec<Subject>> {
    let python = compat_test::install_published(python)?;
    let name = format!("published-{PUBLISHED}");
    Ok(vec![Subject {
        deviations: Some(workers(&format!("{name}.deviations"))),
        name,
        level: 1,
        command: vec![python.into(), workers("worker.py").into()],
    }])
}

/// A worker that somebody wrote from the specification.
fn javascript() -> Result<Vec<Subject>> {
    let mut node = process::command("node");
    if !process::succeeds(node.args(["--eval", "if (!Object.hasOwn) process.exit(1)"])) {
        bail!(Missing(
            "Node.js 18 or newer is needed for the worker in JavaScript".into()
        ));
    }
    Ok(vec![Subject {
        name: "javascript".into(),
        deviations: None,
        level: 3,
        command: vec!["node".into(), workers("javascript/worker.js").into()],
    }])
}

fn workers(name: &str) -> PathBuf {
    let directory = "pyproc-protocol/tests/conformance/workers";
    workspace::root().join(directory).join(name)
}

impl Subject {
    /// Its name, if it does not conform.
    fn fails(self, args: &Args) -> Option<String> {
        println!("\n{}", self.name);
        process::run(&mut self.harness(args))
            .err()
            .map(|_| self.name)
    }

    fn harness(&self, args: &Args) -> Command {
        let mut harness = harness(&Args {
            level: Some(self.level),
            only: args.only.clone(),
            deviations: self.deviations.clone(),
            ..Args::default()
        });
        harness.arg("--").args(&self.command);
        harness
    }
}

fn harness(args: &Args) -> Command {
    let mut cargo = process::cargo();
    cargo.args(["test", "--quiet", "--package", "pyproc-protocol"]);
    cargo.args(["--test", "conformance", "--"]);
    if let Some(level) = args.level {
        cargo.arg("--level").arg(level.to_string());
    }
    for rule in &args.only {
        cargo.args(["--only", rule]);
    }
    if let Some(file) = &args.deviations {
        cargo.arg("--deviations").arg(absolute(file));
    }
    cargo
}

/// The harness runs in another directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(command: &Command) -> Vec<String> {
        let all = process::arguments(command);
        let start = all.iter().position(|it| it == "--").unwrap() + 1;
        all[start..].into()
    }

    #[test]
    fn what_is_asked_for_reaches_the_harness() {
        let args = Args {
            level: Some(2),
            only: vec!["1-F3".into()],
            deviations: Some("/known".into()),
            ..Args::default()
        };
        let expected = ["--level", "2", "--only", "1-F3", "--deviations", "/known"];
        assert_eq!(arguments(&harness(&args)), expected);
    }

    #[test]
    fn a_worker_of_ours_must_reach_its_level_with_its_known_deviations() {
        let subject = Subject {
            name: "old".into(),
            deviations: Some("/known".into()),
            level: 1,
            command: vec!["python".into(), "worker.py".into()],
        };
        assert_eq!(
            arguments(&subject.harness(&Args::default())),
            [
                "--level",
                "1",
                "--deviations",
                "/known",
                "--",
                "python",
                "worker.py"
            ]
        );
    }

    #[test]
    fn the_workers_that_are_tried_are_there() {
        let deviations = format!("published-{PUBLISHED}.deviations");
        for name in ["worker.py", "javascript/worker.js", &deviations] {
            assert!(workers(name).is_file(), "{name}");
        }
    }
}
