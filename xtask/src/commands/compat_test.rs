//! `cargo xtask compat-test`

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tools::prerequisite::Missing;
use crate::tools::process;
use crate::tools::python::{Python, PythonArg};
use crate::tools::venv::{self, Requirement};

/// The oldest release that the pool must work with.
pub(crate) const PUBLISHED: &str = "0.1.0";

#[derive(clap::Args, Debug, Default)]
pub(crate) struct Args {
    /// Also test this worker: a version on PyPI, a wheel, or a directory with a pyproject.toml.
    #[arg(long = "worker", value_name = "PATH-OR-VERSION", value_parser = parse_source)]
    workers: Vec<Source>,
    /// Pass even if no Python was found on which the published worker runs.
    #[arg(long)]
    allow_missing_published: bool,
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

/// Where a worker package comes from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    Ours,
    Published(String),
    Wheel(PathBuf),
    Directory(PathBuf),
}

/// A worker to test.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    /// The name in the result.
    name: String,
    /// The loop to run; the worker chooses if `None`.
    core: Option<&'static str>,
    interpreter: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let python = args.python.find()?;
    let (mut rows, mut not_tested) = (Vec::new(), Vec::new());
    for source in sources(&args.workers) {
        match install(&source, &python) {
            Ok(interpreter) => rows.extend(source.rows(&interpreter)),
            Err(error) if error.is::<Missing>() && source != Source::Ours => {
                not_tested.push(format!("{error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    let tested = process::run(&mut harness(&rows));
    let complete = report(&not_tested, args.allow_missing_published);
    tested.and(complete)
}

/// The published worker and ours, then those that the arguments name.
fn sources(asked_for: &[Source]) -> Vec<Source> {
    let mut sources = vec![Source::Published(PUBLISHED.into()), Source::Ours];
    for source in asked_for {
        if !sources.contains(source) {
            sources.push(source.clone());
        }
    }
    sources
}

/// The interpreter of an environment with the published worker.
pub(crate) fn install_published(python: &Python) -> Result<PathBuf> {
    install(&Source::Published(PUBLISHED.into()), python)
}

fn install(source: &Source, python: &Python) -> Result<PathBuf> {
    let suited = match source {
        Source::Published(version) if version == PUBLISHED => python.for_published_worker(),
        _ => Ok(python.clone()),
    };
    let name = source.name();
    suited
        .and_then(|python| venv::ensure(&name, &python, &source.requirement()))
        .with_context(|| format!("cannot install the worker `{name}`"))
}

fn harness(rows: &[Row]) -> Command {
    let mut cargo = process::cargo();
    cargo.args([
        "test",
        "--quiet",
        "--package",
        "pyproc-pool",
        "--test",
        "compat",
        "--",
    ]);
    for row in rows {
        cargo.arg("--worker").arg(row.argument());
    }
    cargo
}

fn report(not_tested: &[String], allowed: bool) -> Result<()> {
    let result = if allowed { "SKIPPED" } else { "FAILED" };
    for reason in not_tested {
        eprintln!("{result}: {reason}");
    }
    if !allowed && !not_tested.is_empty() {
        bail!(Missing("not every worker could be tested".into()));
    }
    Ok(())
}

impl Row {
    fn argument(&self) -> String {
        let (name, interpreter) = (&self.name, self.interpreter.display());
        match self.core {
            Some(core) => format!("{name}:{core}={interpreter}"),
            None => format!("{name}={interpreter}"),
        }
    }
}

impl Source {
    /// Our worker has two loops; each is tested as a separate worker.
    fn rows(&self, interpreter: &Path) -> Vec<Row> {
        let row = |name: String, core| Row {
            name,
            core,
            interpreter: interpreter.into(),
        };
        match self {
            Self::Ours => ["python", "native"]
                .map(|core| row(format!("ours-{core}"), Some(core)))
                .into(),
            _ => vec![row(self.name(), None)],
        }
    }

    /// The name of the row and of the environment.
    fn name(&self) -> String {
        match self {
            Self::Ours => "ours".into(),
            Self::Published(version) => format!("published-{version}"),
            Self::Wheel(path) | Self::Directory(path) => path_name(path),
        }
    }

    fn requirement(&self) -> Requirement {
        match self {
            Self::Ours => Requirement::ours("fast"),
            Self::Published(version) => Requirement::published(version),
            Self::Wheel(path) => Requirement::wheel(path),
            Self::Directory(path) => Requirement::directory(path),
        }
    }
}

/// The whole path in characters that are valid in a file name. Different paths have different names.
fn path_name(path: &Path) -> String {
    let name = path.to_string_lossy();
    name.trim_start_matches('/')
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

fn parse_source(text: &str) -> Result<Source> {
    if text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('/') {
        return Ok(Source::Published(text.into()));
    }
    let path = std::path::absolute(text)?;
    if path.join("pyproject.toml").is_file() {
        return Ok(Source::Directory(path));
    }
    if path.is_file() && path.extension().is_some_and(|extension| extension == "whl") {
        return Ok(Source::Wheel(path));
    }
    bail!("neither a version, nor a wheel, nor a directory with a pyproject.toml")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_worker_is_a_version_a_wheel_or_a_package_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let wheel = path.join("worker-1.whl");
        fs::write(&wheel, "").unwrap();
        let parse = |path: &Path| parse_source(path.to_str().unwrap());
        assert_eq!(
            parse_source("0.1.0").unwrap(),
            Source::Published("0.1.0".into())
        );
        assert_eq!(parse(&wheel).unwrap(), Source::Wheel(wheel.clone()));
        assert!(parse(path).is_err());
        fs::write(path.join("pyproject.toml"), "").unwrap();
        assert_eq!(parse(path).unwrap(), Source::Directory(path.into()));
    }

    #[test]
    fn the_published_worker_and_ours_are_always_tested_and_nothing_twice() {
        let published = Source::Published(PUBLISHED.into());
        let other = Source::Published("0.2.0".into());
        let expected = [published.clone(), Source::Ours, other.clone()];
        assert_eq!(sources(&[other, published]), expected);
    }

    #[test]
    fn each_worker_becomes_an_argument_of_the_harness_and_ours_one_for_each_loop() {
        let other = Source::Published("0.1.0".into());
        let rows: Vec<_> = [other, Source::Ours]
            .iter()
            .flat_map(|source| source.rows(Path::new("/venv/python")))
            .collect();
        let arguments = process::arguments(&harness(&rows));
        let passed_on = arguments.split(|argument| argument == "--").nth(1).unwrap();
        assert_eq!(
            passed_on,
            [
                "--worker",
                "published-0.1.0=/venv/python",
                "--worker",
                "ours-python:python=/venv/python",
                "--worker",
                "ours-native:native=/venv/python"
            ]
        );
    }

    #[test]
    fn a_worker_without_a_python_fails_unless_that_is_allowed() {
        let not_tested = ["no Python".to_string()];
        assert!(report(&not_tested, false).unwrap_err().is::<Missing>());
        assert!(report(&not_tested, true).is_ok());
        assert!(report(&[], false).is_ok());
    }
}
