//! `cargo xtask bench`

mod environment;
mod logs;
mod telemetry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::python::PythonArg;
use crate::tools::{process, workspace};

/// A separate workspace, so that other builds do not wait for the peers' clients.
pub(crate) const MANIFEST: &str = "pyproc-pool/benches/peers/Cargo.toml";

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Measure once and for a shorter time; the results are less exact.
    #[arg(long)]
    quick: bool,
    /// Measure only these peers.
    #[arg(long = "peer", value_name = "NAME", num_args = 1..)]
    peers: Vec<String>,
    /// Measure only these works: pingpong, W1, W2, W3, burn1ms, idle, held.
    #[arg(long = "work", value_name = "NAME", num_args = 1..)]
    works: Vec<String>,
    /// Draw the results of the last run; measure only if there are none, or if another flag selects measurements.
    #[arg(long)]
    plot: bool,
    /// Measure the overhead of telemetry for each call, instead of the peers.
    #[arg(long, conflicts_with_all = ["peers", "works", "plot"])]
    telemetry: bool,
    /// Measure the overhead of log lines, instead of the peers.
    #[arg(long, conflicts_with_all = ["peers", "works", "plot", "telemetry", "quick"])]
    logs: bool,
    #[command(flatten)]
    python: PythonArg,
}

/// Measures and draws, or only draws.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.telemetry {
        return telemetry::run(&args.python.find()?, args.quick);
    }
    if args.logs {
        return logs::run(&args.python.find()?);
    }
    let results = Results::directory()?;
    let program = build("pyproc-bench", None)?.join("pyproc-bench");
    if !(args.only_draws() && results.rows.is_file()) {
        measure(args, &program, &results.rows)?;
    }
    let mut plot = process::command(&program);
    process::run(plot.arg("plot").arg(&results.rows).arg(&results.drawing))
}

impl Args {
    fn only_draws(&self) -> bool {
        self.plot && !self.quick && self.peers.is_empty() && self.works.is_empty()
    }

    /// The value of the program's argument.
    fn selection(&self) -> Vec<String> {
        let flags = |flag: &'static str, values: &[String]| {
            let pair = move |value: &String| [flag.into(), value.clone()];
            values.iter().flat_map(pair).collect::<Vec<_>>()
        };
        [flags("--peer", &self.peers), flags("--work", &self.works)].concat()
    }
}

/// The files that a run writes.
struct Results {
    rows: PathBuf,
    drawing: PathBuf,
}

impl Results {
    fn directory() -> Result<Self> {
        let directory = workspace::target_dir().join("bench");
        fs::create_dir_all(&directory).context("cannot create the results' directory")?;
        Ok(Self {
            rows: directory.join("results.json"),
            drawing: directory.join("results.svg"),
        })
    }
}

fn measure(args: &Args, program: &Path, rows: &Path) -> Result<()> {
    let python = args.python.find()?;
    let selection = args.selection();
    let mut needed = process::command(program);
    let needed = process::run_quietly(needed.arg("environments").args(&selection))?;
    let mut run = process::command(program);
    run.arg("run").args(selection).arg("--json").arg(rows);
    if args.quick {
        run.arg("--quick");
    }
    let ours = environment::ensure(environment::OURS, &python)?;
    run.args(modules_flag(&ours)?);
    run.args(environment_flag(environment::OURS, Ok(ours)));
    for name in needed.lines().filter(|name| *name != environment::OURS) {
        run.args(environment_flag(name, environment::ensure(name, &python)));
    }
    process::run(&mut run)
}

/// Prints where an environment is, or why there is none: a peer that is not available on this machine must not prevent
/// the measurement of the others.
fn environment_flag(name: &str, interpreter: Result<PathBuf>) -> [String; 2] {
    match interpreter {
        Ok(interpreter) => [
            "--python".into(),
            format!("{name}={}", interpreter.display()),
        ],
        Err(error) => ["--missing".into(), format!("{name}={error:#}")],
    }
}

/// Builds the module for in-process calls. If that fails, only its peers are left out.
fn modules_flag(interpreter: &Path) -> Result<Vec<String>> {
    let built = match build("pyproc-bench-in-process", Some(interpreter)) {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("{error:#}");
            return Ok(Vec::new());
        }
    };
    let library = format!("libpyproc_bench_in_process{}", std::env::consts::DLL_SUFFIX);
    let modules = workspace::target_dir().join("bench/modules");
    fs::create_dir_all(&modules)?;
    fs::copy(
        built.join(library),
        modules.join("pyproc_bench_in_process.so"),
    )
    .context("cannot copy the module")?;
    Ok(vec!["--modules".into(), modules.display().to_string()])
}

/// Builds one of the benchmark's packages, and returns the path of the result.
fn build(package: &str, python: Option<&Path>) -> Result<PathBuf> {
    let target = workspace::target_dir().join("bench/build");
    process::run(&mut cargo_build(package, &target, python))?;
    Ok(target.join("release"))
}

fn cargo_build(package: &str, target: &Path, python: Option<&Path>) -> Command {
    let mut cargo = process::cargo();
    cargo.args(["build", "--quiet", "--release", "--package", package]);
    cargo.args(["--manifest-path", MANIFEST, "--target-dir"]);
    cargo.arg(target);
    if let Some(python) = python {
        // For this interpreter only, not for the stable ABI.
        cargo.env("PYO3_PYTHON", python);
        cargo.env_remove("PYO3_NO_PYTHON");
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(peers: &[&str], works: &[&str], plot: bool) -> Args {
        Args {
            quick: false,
            peers: peers.iter().map(ToString::to_string).collect(),
            works: works.iter().map(ToString::to_string).collect(),
            plot,
            telemetry: false,
            logs: false,
            python: PythonArg::default(),
        }
    }

    #[test]
    fn the_selection_is_passed_on() {
        assert_eq!(args(&[], &[], false).selection(), [""; 0]);
        assert_eq!(
            args(&["mosec", "pyzmq"], &["W1"], false).selection(),
            ["--peer", "mosec", "--peer", "pyzmq", "--work", "W1"]
        );
    }

    #[test]
    fn a_missing_environment_is_passed_on_with_its_reason() {
        let there = environment_flag("mosec", Ok("/venv/python".into()));
        assert_eq!(there, ["--python", "mosec=/venv/python"]);
        let missing = environment_flag("mosec", Err(anyhow::anyhow!("no wheel")));
        assert_eq!(missing, ["--missing", "mosec=no wheel"]);
    }

    #[test]
    fn plot_alone_only_draws() {
        assert!(args(&[], &[], true).only_draws());
        assert!(!args(&["mosec"], &[], true).only_draws());
        assert!(!args(&[], &["W1"], true).only_draws());
        assert!(!args(&[], &[], false).only_draws());
    }

    #[test]
    fn the_module_is_built_for_the_python_that_loads_it() {
        let command = cargo_build("p", "target".as_ref(), Some("/venv/python".as_ref()));
        let variable = command.get_envs().find(|(name, _)| *name == "PYO3_PYTHON");
        assert_eq!(
            variable.and_then(|(_, value)| value),
            Some("/venv/python".as_ref())
        );
        let arguments = process::arguments(&command);
        assert!(arguments.contains(&MANIFEST.into()));
        assert!(workspace::root().join(MANIFEST).is_file());
    }
}
