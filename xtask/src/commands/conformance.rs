//! `cargo xtask conformance`

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::ArgGroup;
use serde_json::Value;

use crate::commands::compat_test::{self, PUBLISHED};
use crate::tools::prerequisite::Missing;
use crate::tools::process;
use crate::tools::python::{Python, PythonArg};
use crate::tools::venv::{self, Requirement};
use crate::tools::workspace;

const AFTER_HELP: &str = "\
Without COMMAND and --socket it tries both cores of our worker, the published worker, and one in JavaScript.
pyproc-protocol/CONFORMANCE.md says which functions a worker under test exposes, and what the verdicts mean.";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = AFTER_HELP, group = ArgGroup::new("worker").args(["command", "socket"]))]
pub(crate) struct Args {
    /// Fail if the worker does not claim this level: 1 (calls), 2 (version 2) or 3 (telemetry).
    #[arg(long, value_name = "N", requires = "worker", value_parser = clap::value_parser!(u8).range(1..=3))]
    level: Option<u8>,
    /// Test only this rule, such as 1-F3; may be given several times.
    #[arg(long, value_name = "RULE")]
    only: Vec<String>,
    /// A file with rules that the worker is known to violate: in each line a rule and the reason.
    #[arg(long, value_name = "FILE", requires = "worker")]
    deviations: Option<PathBuf>,
    /// Print a line also for each rule of a level that the worker does not claim.
    #[arg(long)]
    verbose: bool,
    /// Test the worker that listens on this socket.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Without COMMAND: fail if a worker cannot be tested on this machine.
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

/// A worker to test.
#[derive(Debug, PartialEq)]
struct Subject {
    name: String,
    deviations: Option<PathBuf>,
    /// The level that it must claim.
    level: u8,
    command: Vec<OsString>,
}

/// Returns the exit code of the harness, whose report is printed last.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.socket.is_none() && args.command.is_empty() {
        return try_all(args).map(|()| ExitCode::SUCCESS);
    }
    let status = harness(&build()?, args).status();
    let status = status.context("cannot start the harness")?;
    Ok(status
        .code()
        .map_or(ExitCode::FAILURE, |it| ExitCode::from(it as u8)))
}

/// Tests all workers even if one fails, so that one run shows all failures.
pub(crate) fn try_all(args: &Args) -> Result<()> {
    let program = build()?;
    let python = args.python.find()?;
    let (mut failed, mut missing) = (Vec::new(), Vec::new());
    for subjects in [ours(&python), published(&python), javascript()] {
        match subjects {
            Ok(subjects) => {
                for subject in subjects {
                    if !subject.conforms(&program, args)? {
                        failed.push(subject.name);
                    }
                }
            }
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

/// Each of its loops is tested as a separate worker.
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

/// The oldest release: it conforms to few rules beyond those of calls; the file lists the violations.
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

/// A worker that was written from the specification alone.
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
    /// Fails if it could not be tested.
    fn conforms(&self, program: &Path, args: &Args) -> Result<bool> {
        println!("\n{}", self.name);
        let status = self.harness(program, args).status();
        match status.context("cannot start the harness")?.code() {
            Some(2) => bail!(Missing(format!("{} was not tried", self.name))),
            code => Ok(code == Some(0)),
        }
    }

    fn harness(&self, program: &Path, args: &Args) -> Command {
        let args = Args {
            level: Some(self.level),
            only: args.only.clone(),
            deviations: self.deviations.clone(),
            verbose: args.verbose,
            command: self.command.clone(),
            ..Args::default()
        };
        harness(program, &args)
    }
}

/// The harness's executable. It is run without cargo, which would add its own lines to the report.
fn build() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args([
        "test",
        "--no-run",
        "--quiet",
        "--package",
        "pyproc-protocol",
    ]);
    cargo.args(["--test", "conformance"]);
    cargo.arg("--message-format=json-render-diagnostics");
    let messages = process::run_quietly(&mut cargo)?;
    executable(&messages).context("cargo names no executable of the conformance harness")
}

/// The executables that cargo built, from its messages: one on each line.
fn executable(messages: &str) -> Option<PathBuf> {
    let values = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut paths = values.filter_map(|it| it["executable"].as_str().map(PathBuf::from));
    paths.next_back()
}

/// Runs in the user's current directory, so that relative paths start there.
fn harness(program: &Path, args: &Args) -> Command {
    let mut harness = process::command(program);
    harness.current_dir(env::current_dir().unwrap_or_else(|_| workspace::root().into()));
    if let Some(level) = args.level {
        harness.arg("--level").arg(level.to_string());
    }
    for rule in &args.only {
        harness.args(["--only", rule]);
    }
    if let Some(file) = &args.deviations {
        harness.arg("--deviations").arg(file);
    }
    if args.verbose {
        harness.arg("--verbose");
    }
    match &args.socket {
        Some(socket) => harness.arg("--socket").arg(socket),
        None => harness.arg("--").args(&args.command),
    };
    harness
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(args: &Args) -> String {
        process::arguments(&harness(Path::new("harness"), args)).join(" ")
    }

    #[test]
    fn cargo_names_the_executable() {
        let messages = r#"{"reason":"compiler-artifact","executable":null}
{"reason":"compiler-artifact","executable":"/target/conformance-1"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some("/target/conformance-1".into()));
        assert_eq!(executable("no JSON"), None);
    }

    #[test]
    fn what_is_asked_for_reaches_the_harness() {
        let args = Args {
            level: Some(2),
            only: vec!["1-F3".into()],
            deviations: Some("known".into()),
            verbose: true,
            command: vec!["./worker".into(), "--verbose".into()],
            ..Args::default()
        };
        let expected = "--level 2 --only 1-F3 --deviations known --verbose -- ./worker --verbose";
        assert_eq!(arguments(&args), expected);
        let args = Args {
            socket: Some("w.sock".into()),
            ..Args::default()
        };
        assert_eq!(arguments(&args), "--socket w.sock");
    }

    #[test]
    fn a_worker_of_ours_must_reach_its_level_with_its_known_deviations() {
        let subject = Subject {
            name: "old".into(),
            deviations: Some("/known".into()),
            level: 1,
            command: vec!["python".into(), "worker.py".into()],
        };
        let harness = subject.harness(Path::new("harness"), &Args::default());
        let expected = "--level 1 --deviations /known -- python worker.py";
        assert_eq!(process::arguments(&harness).join(" "), expected);
    }

    #[test]
    fn the_workers_that_are_tried_are_there() {
        let deviations = format!("published-{PUBLISHED}.deviations");
        for name in ["worker.py", "javascript/worker.js", &deviations] {
            assert!(workers(name).is_file(), "{name}");
        }
    }
}
