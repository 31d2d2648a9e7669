//! Every development command of the project, run as `cargo xtask COMMAND`.
//!
//! Exit codes: 0 on success; 1 if something failed that the command ran; 2 if something is missing that the command
//! needs, or an argument is wrong.

#[cfg(test)]
mod checks;
mod commands;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    bench, chaos, ci, compat_test, conformance, demo, fuzz, interleavings, quick_start, test,
};
use crate::tools::prerequisite::Missing;

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit_code(&error)
        }
    }
}

/// The development commands of pyproc.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the demo: a census of Python's standard library by a pool of workers.
    Demo(demo::Args),
    /// Run the Rust tests against real workers, then the Python tests.
    Test(test::Args),
    /// Run the pool against the published worker and against ours.
    CompatTest(compat_test::Args),
    /// Test a worker in any language against each rule of the wire's specification.
    Conformance(conformance::Args),
    /// Check the pool's guarantees while workers are killed, stopped, hung and reloaded at random.
    Chaos(chaos::Args),
    /// Measure the cost of calls, compared with lower bounds and with other systems.
    Bench(bench::Args),
    /// Fuzz the protocol crate.
    Fuzz(fuzz::Args),
    /// Run the pool's threads in many interleavings.
    Interleavings,
    /// Run the README's quick start in an empty directory, and compare its output.
    QuickStart(quick_start::Args),
    /// Run all checks that a change must pass before it is merged.
    Ci(ci::Args),
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Test(args) => test::run(args),
        Command::CompatTest(args) => compat_test::run(args),
        Command::Conformance(args) => return conformance::run(args),
        Command::Chaos(args) => chaos::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Fuzz(args) => fuzz::run(args),
        Command::Interleavings => interleavings::run(),
        Command::QuickStart(args) => quick_start::run(args),
        Command::Ci(args) => ci::run(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(if error.is::<Missing>() { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_missing_prerequisite_exits_with_2_and_a_failure_with_1() {
        let missing = anyhow::Error::new(Missing("no Python".into())).context("cannot test");
        assert_eq!(exit_code(&missing), ExitCode::from(2));
        assert_eq!(exit_code(&anyhow!("tests failed")), ExitCode::from(1));
    }

    #[test]
    fn every_flag_of_every_command_has_a_help_sentence() {
        for command in Cli::command().get_subcommands() {
            for arg in command.get_arguments() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}
