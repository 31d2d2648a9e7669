//! `cargo xtask ci`

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::commands::{
    bench, chaos, compat_test, conformance, fuzz, interleavings, quick_start, test,
};
use crate::tools::prerequisite::Missing;
use crate::tools::python::PythonArg;
use crate::tools::venv::{self, Requirement};
use crate::tools::{process, workspace};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    python: PythonArg,
}

type Step = (&'static str, fn(&PythonArg) -> Result<()>);

const STEPS: [Step; 11] = [
    ("fmt", |_| fmt()),
    ("clippy", |_| clippy()),
    ("doc", |_| doc()),
    ("package", |_| package()),
    ("python-lint", python_lint),
    ("test", |python| test::run(&test::Args::all(python))),
    ("interleavings", |_| interleavings::run()),
    ("compat-test", |python| {
        compat_test::run(&compat_test::Args::all(python))
    }),
    ("conformance", |python| {
        conformance::try_all(&conformance::Args::all(python))
    }),
    ("chaos", |python| chaos::run(&chaos::Args::short(python))),
    ("quick-start", |_| quick_start::run(&quick_start::Args {})),
];

/// Runs the steps up to the first failure.
pub(crate) fn run(args: &Args) -> Result<()> {
    require_components()?;
    let mut times = Vec::new();
    for (name, step) in STEPS {
        eprintln!("\n==> {name}");
        let start = Instant::now();
        let result = step(&args.python);
        times.push(start.elapsed());
        if let Err(error) = result {
            eprintln!("\n{}", table(&times, false));
            return Err(error.context(format!("step `{name}`")));
        }
    }
    eprintln!("\n{}", table(&times, true));
    Ok(())
}

fn require_components() -> Result<()> {
    let installed = || {
        process::succeeds(process::cargo().args(["fmt", "--version"]))
            && process::succeeds(process::cargo().args(["clippy", "--version"]))
    };
    if installed() {
        return Ok(());
    }
    let added =
        process::run(process::command("rustup").args(["component", "add", "rustfmt", "clippy"]));
    match added {
        Ok(()) if installed() => Ok(()),
        _ => bail!(Missing(
            "cargo fmt and cargo clippy are needed, and could not be added through rustup\n\
             Install rustfmt and clippy of your Rust version from where you got Rust."
                .into()
        )),
    }
}

/// The benchmark of JSON libraries.
const JSON_BENCH: &str = "pyproc-protocol/benches/json/Cargo.toml";

/// Separate workspaces have their own manifests.
fn fmt() -> Result<()> {
    for manifest in ["Cargo.toml", bench::MANIFEST, JSON_BENCH, fuzz::MANIFEST] {
        let scope = ["fmt", "--all", "--check", "--manifest-path", manifest];
        process::run(process::cargo().args(scope))?;
    }
    Ok(())
}

fn clippy() -> Result<()> {
    let deny = ["--all-targets", "--", "-D", "warnings"];
    let all = ["clippy", "--workspace", "--all-features"];
    process::run(process::cargo().args(all).args(deny))?;
    // Its other package needs an interpreter, which does not exist yet.
    let bench = ["clippy", "--package", "pyproc-bench", "--manifest-path"];
    let mut bench_clippy = process::cargo();
    bench_clippy.args(bench).arg(bench::MANIFEST);
    process::run(
        bench_clippy
            .args(["--target-dir", "target/bench/build"])
            .args(deny),
    )
}

fn doc() -> Result<()> {
    let scope = ["doc", "--workspace", "--no-deps", "--all-features"];
    process::run(
        process::cargo()
            .args(scope)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

pub(crate) const PUBLISHED: [&str; 6] = [
    "pyproc-fields",
    "pyproc-settings",
    "pyproc-protocol",
    "pyproc-pool",
    "pyproc-telemetry",
    "pyproc-logging",
];

/// Checks that each crate can be published: its package contains everything that it is built from. This includes changes
/// that are not committed yet.
///
/// Each run uses a new directory: cargo caches the unpacked version of a crate by the directory's name, and would check
/// the next crates against that, even if it is outdated.
fn package() -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let directory = workspace::target_dir().join(format!("package-{}", now.as_millis()));
    let mut package = process::cargo();
    package.args(["package", "--quiet", "--allow-dirty", "--target-dir"]);
    package.arg(&directory);
    for name in PUBLISHED {
        package.args(["--package", name]);
    }
    process::run(&mut package)?;
    fs::remove_dir_all(&directory).context("cannot remove what was packaged")
}

/// The tools with the versions that `pyproject.toml` pins.
fn python_lint(python: &PythonArg) -> Result<()> {
    let python = venv::ensure("test", &python.find()?, &Requirement::ours("test"))?;
    for module in ["ruff check", "ruff format --check", "mypy"] {
        let mut lint = process::command(&python);
        lint.arg("-m").args(module.split(' '));
        process::run(lint.current_dir(workspace::python_package()))?;
    }
    Ok(())
}

/// One line for each step. `times` holds the steps that ran; all of them succeeded, or all but the last.
fn table(times: &[Duration], all_succeeded: bool) -> String {
    let line = |index: usize, (name, _): &Step| match times.get(index) {
        None => format!("{name:<13} not run"),
        Some(time) => {
            let failed = !all_succeeded && index + 1 == times.len();
            let result = if failed { "FAILED" } else { "ok" };
            format!("{name:<13} {result:<8} {:>7.1} s", time.as_secs_f64())
        }
    };
    let lines: Vec<_> = STEPS
        .iter()
        .enumerate()
        .map(|(i, step)| line(i, step))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_table_tells_passed_failed_and_not_run_apart() {
        let text = table(
            &[Duration::from_millis(1240), Duration::from_secs(75)],
            false,
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "fmt           ok           1.2 s");
        assert_eq!(lines[1], "clippy        FAILED      75.0 s");
        assert_eq!(lines[2], "doc           not run");
        assert_eq!(lines.len(), STEPS.len());
    }

    #[test]
    fn no_step_failed_when_all_succeeded() {
        let text = table(&[Duration::ZERO; STEPS.len()], true);
        assert!(
            !text.contains("FAILED") && !text.contains("not run"),
            "{text}"
        );
    }
}
