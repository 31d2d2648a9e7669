//! Every scenario with every worker, as a table.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    pin::Pin,
    process::ExitCode,
};

use anyhow::{Result, anyhow};
use tokio::time::timeout;

use crate::{candidate::Candidate, support::LONG};

/// Something that must hold for each worker.
pub(crate) struct Scenario {
    name: &'static str,
    /// What the first release lacks for it.
    original_lacks: Option<&'static str>,
    run: Box<dyn Fn(Candidate) -> Running>,
}

type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

enum Outcome {
    Passed,
    Failed(anyhow::Error),
    NotApplicable,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failures: Vec<String>,
}

pub(crate) fn scenario<F>(name: &'static str, run: fn(Candidate) -> F) -> Scenario
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    Scenario {
        name,
        original_lacks: None,
        run: Box::new(move |candidate| Box::pin(run(candidate))),
    }
}

/// A scenario that takes a worker that serves several connections at once.
pub(crate) fn needs_connections<F>(name: &'static str, run: fn(Candidate) -> F) -> Scenario
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    Scenario {
        original_lacks: Some("accepts one connection at a time"),
        ..scenario(name, run)
    }
}

/// A scenario with a script that was written for the original's newest worker.
pub(crate) fn needs_newest_names<F>(name: &'static str, run: fn(Candidate) -> F) -> Scenario
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    Scenario {
        original_lacks: Some("has not all names of the original's newest worker"),
        ..scenario(name, run)
    }
}

pub(crate) async fn run(scenarios: &[Scenario], candidates: &[Candidate]) -> ExitCode {
    let width = scenarios.iter().map(|it| it.name.len()).max().unwrap_or(0);
    let mut tally = Tally::default();
    let names = candidates.iter().map(|it| format!("  {}", it.name));
    println!("{:width$}{}", "", names.collect::<String>());
    for scenario in scenarios {
        print!("{:width$}", scenario.name);
        for candidate in candidates {
            let outcome = scenario.with(candidate).await;
            print!("  {:1$}", outcome.cell(), candidate.name.len());
            // The table is there to be read; without a reader the exit code remains.
            let _ = io::stdout().flush();
            tally.add(scenario, candidate, outcome);
        }
        println!();
    }
    explain_not_applicable(scenarios, candidates);
    tally.report()
}

impl Scenario {
    async fn with(&self, candidate: &Candidate) -> Outcome {
        if self.original_lacks.is_some() && candidate.is_original() {
            return Outcome::NotApplicable;
        }
        // A task of its own, so that a panic is no more than a failure.
        let mut task = tokio::spawn((self.run)(candidate.clone()));
        let result = match timeout(LONG, &mut task).await {
            Ok(ended) => ended.unwrap_or_else(|panic| Err(panic.into())),
            Err(_) => {
                task.abort();
                let _ = task.await;
                Err(anyhow!("not done after {LONG:?}"))
            }
        };
        result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
    }
}

impl Outcome {
    fn cell(&self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed(_) => "FAILED",
            Self::NotApplicable => "n/a",
        }
    }
}

impl Tally {
    fn add(&mut self, scenario: &Scenario, candidate: &Candidate, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(error) => self.failures.push(format!(
                "{}, with {}: {error:#}",
                scenario.name, candidate.name
            )),
            Outcome::NotApplicable => {}
        }
    }

    fn report(&self) -> ExitCode {
        for failure in &self.failures {
            println!("\nFAILED: {failure}");
        }
        println!("\n{} passed, {} failed", self.passed, self.failures.len());
        match self.failures.len() {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

fn explain_not_applicable(scenarios: &[Scenario], candidates: &[Candidate]) {
    let lacks: BTreeSet<_> = scenarios
        .iter()
        .filter_map(|it| it.original_lacks)
        .collect();
    for candidate in candidates.iter().filter(|it| it.is_original()) {
        for reason in &lacks {
            println!("\nn/a: {} {reason}", candidate.name);
        }
    }
}
