//! Says of a worker in any language which rules of the specification it keeps, and which level it reaches.
//!
//! `cargo xtask conformance` runs it. It depends on nothing of the crate: bytes go out and come back as the text has them.

mod suite;

use std::{env, ffi::OsString, io, process::ExitCode};

use suite::{Deviations, Level, Plan, Target, Trouble};

const USAGE: &str = "usage: cargo xtask conformance [--level N] [--only RULE]... [--deviations FILE] [--verbose] \
                     (--socket PATH | -- COMMAND [ARGUMENT...])";

fn main() -> ExitCode {
    let (target, plan) = match arguments(env::args_os().skip(1)).and_then(checked) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("error: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match suite::run(target, &plan, &mut io::stdout()) {
        Ok(report) if report.conforms() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(Trouble::NotTried(reason)) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
        Err(Trouble::Report(error)) => {
            eprintln!("error: cannot write the report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut words: impl Iterator<Item = OsString>) -> Result<(Target, Plan), String> {
    let mut plan = Plan::default();
    while let Some(word) = words.next() {
        if word == "--" {
            let words: Vec<_> = words.collect();
            return match words.is_empty() {
                false => Ok((Target::Command(words), plan)),
                true => Err("no command".into()),
            };
        }
        let flag = word.to_string_lossy().into_owned();
        if flag == "--verbose" {
            plan.verbose = true;
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("no value for `{flag}`"))?;
        let text = value.to_string_lossy();
        match &*flag {
            "--socket" => return Ok((Target::Socket(value.into()), plan)),
            "--only" => plan.only.push(text.into_owned()),
            "--level" => {
                plan.demanded = Some(level(&text)?);
            }
            "--deviations" => {
                let read = Deviations::read(value.as_ref());
                plan.deviations = read.map_err(|error| format!("{text}: {error}"))?;
            }
            _ => return Err(format!("unknown argument `{flag}`")),
        }
    }
    Err("no worker".into())
}

fn checked((target, plan): (Target, Plan)) -> Result<(Target, Plan), String> {
    let unknown = plan.unknown_rules().join(", ");
    match unknown.is_empty() {
        true => Ok((target, plan)),
        false => Err(format!("no rules of workers: {unknown}")),
    }
}

fn level(text: &str) -> Result<Level, String> {
    match text {
        "1" => Ok(Level::Calls),
        "2" => Ok(Level::Version2),
        "3" => Ok(Level::Telemetry),
        _ => Err(format!("a level is 1, 2 or 3, and not {text}")),
    }
}
