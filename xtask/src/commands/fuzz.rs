//! `cargo xtask fuzz`

use std::process::Command;

use anyhow::{Result, bail};

use crate::tools::prerequisite::Missing;
use crate::tools::process;

const FUZZ_DIR: &str = "pyproc-protocol/fuzz";
pub(crate) const MANIFEST: &str = "pyproc-protocol/fuzz/Cargo.toml";

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Fuzz each target for this many seconds.
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u32,
    /// Fuzz only this target.
    #[arg(value_name = "TARGET")]
    target: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    require_tools()?;
    let listed = process::run_quietly(&mut list())?;
    for target in select(&listed, args.target.as_deref())? {
        process::run(&mut fuzz(target, args.seconds))?;
    }
    Ok(())
}

fn require_tools() -> Result<()> {
    if !process::succeeds(process::command("rustup").args(["run", "nightly", "rustc", "-V"])) {
        return Err(missing(
            "a nightly toolchain of rustup (https://rustup.rs)",
            "rustup toolchain install nightly",
        ));
    }
    if !process::succeeds(process::command("cargo").args(["fuzz", "--version"])) {
        return Err(missing("cargo-fuzz", "cargo install cargo-fuzz"));
    }
    Ok(())
}

fn missing(tool: &str, command: &str) -> anyhow::Error {
    Missing(format!(
        "fuzzing needs {tool}, which was not found\nInstall it with `{command}`."
    ))
    .into()
}

fn list() -> Command {
    let mut command = cargo_fuzz();
    command.args(["list", "--fuzz-dir", FUZZ_DIR]);
    command
}

fn fuzz(target: &str, seconds: u32) -> Command {
    let mut command = cargo_fuzz();
    command.args(["run", "--fuzz-dir", FUZZ_DIR, target, "--"]);
    command.arg(format!("-max_total_time={seconds}"));
    command
}

/// The cargo that runs xtask may be a stable one.
fn cargo_fuzz() -> Command {
    let mut command = process::command("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]);
    command
}

/// All targets, or the one that the arguments name.
fn select<'a>(listed: &'a str, asked_for: Option<&str>) -> Result<Vec<&'a str>> {
    let all: Vec<_> = listed.split_whitespace().collect();
    let Some(name) = asked_for else {
        return Ok(all);
    };
    match all.iter().find(|target| **target == name) {
        Some(target) => Ok(vec![target]),
        None => bail!(
            "there is no fuzz target `{name}`; there are: {}",
            all.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_are_fuzzed_unless_one_is_named() {
        assert_eq!(
            select("decode\nencode\n", None).unwrap(),
            ["decode", "encode"]
        );
        assert_eq!(
            select("decode\nencode\n", Some("encode")).unwrap(),
            ["encode"]
        );
    }

    #[test]
    fn an_unknown_target_is_answered_with_the_known_ones() {
        let message = select("decode\nencode\n", Some("other"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "there is no fuzz target `other`; there are: decode, encode"
        );
    }

    #[test]
    fn the_time_limit_goes_to_the_fuzzer_itself() {
        let arguments = process::arguments(&fuzz("decode", 30));
        assert!(arguments.ends_with(&["decode", "--", "-max_total_time=30"].map(String::from)));
    }
}
