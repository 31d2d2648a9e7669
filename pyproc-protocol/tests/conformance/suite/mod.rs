//! Plays scripted streams to a worker, and says of each rule of the specification whether the worker keeps it.

mod contract;
mod deviations;
mod golden;
mod hello;
mod level;
mod peer;
mod report;
pub(crate) mod rules;
pub(crate) mod schema;
mod subject;
mod verdict;
mod wire;

use std::{io, time::Duration};

pub(crate) use deviations::Deviations;
pub(crate) use level::Level;
pub(crate) use report::Report;
pub(crate) use subject::Target;

use subject::{LITTLE_PATIENCE, PATIENCE, Subject};
use verdict::{Outcome, Verdict};

/// A rule of the specification, and the script that tries it.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    /// Its number in the text.
    pub(crate) id: &'static str,
    pub(crate) level: Level,
    /// What holds, in a sentence.
    pub(crate) text: &'static str,
    /// Or why there is none.
    script: Result<Script, &'static str>,
}

type Script = fn(&Subject) -> Outcome;

/// What is to be tried, and what is known before.
#[derive(Default)]
pub(crate) struct Plan {
    /// The level that the worker must reach; whichever it reaches, if `None`.
    pub(crate) demanded: Option<Level>,
    /// Only these rules; all, if empty.
    pub(crate) only: Vec<String>,
    pub(crate) deviations: Deviations,
    /// A line also for each rule of a level that the worker does not claim.
    pub(crate) verbose: bool,
    /// How long to wait for what the worker must do; 20 s, if `None`.
    pub(crate) patience: Option<Duration>,
}

impl Plan {
    /// Rules that it names and that are none: a typing error must not look like a success.
    pub(crate) fn unknown_rules(&self) -> Vec<&str> {
        let known = rules::all();
        let named = self
            .only
            .iter()
            .map(String::as_str)
            .chain(self.deviations.rules());
        named
            .filter(|id| known.iter().all(|rule| rule.id != *id))
            .collect()
    }
}

/// Why there is no report.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Whoever runs the tool has to do something first.
    NotTried(String),
    /// The report cannot be written.
    Report(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Report(error)
    }
}

/// Tries each rule and writes the verdicts as they come.
pub(crate) fn run(target: Target, plan: &Plan, out: &mut dyn io::Write) -> Result<Report, Trouble> {
    let subject = Subject::new(target).map_err(Trouble::NotTried)?;
    let claimed = match level::claimed(&subject) {
        Ok(level) => level,
        Err(stop) => return Ok(Report::cannot_start(Verdict::from(Err(stop)), out)?),
    };
    contract::check(&subject, claimed).map_err(Trouble::NotTried)?;
    let mut report = Report::new(claimed, plan);
    for rule in rules::all() {
        if plan.only.is_empty() || plan.only.iter().any(|id| id == rule.id) {
            let verdict = try_rule(&rule, &subject, plan, claimed);
            report.add(&rule, verdict, out)?;
        }
    }
    report.close(out)?;
    Ok(report)
}

fn try_rule(rule: &Rule, subject: &Subject, plan: &Plan, claimed: Level) -> Verdict {
    if rule.level > claimed {
        return Verdict::NotReached;
    }
    let script = match rule.script {
        Ok(script) => script,
        Err(reason) => return Verdict::NotTried(reason),
    };
    subject.set_patience(match plan.deviations.has(rule.id) {
        true => LITTLE_PATIENCE,
        false => plan.patience.unwrap_or(PATIENCE),
    });
    let outcome = script(subject).and_then(|()| survives(subject));
    let remarks = subject.take_remarks();
    let verdict = Verdict::from(outcome.map(|()| remarks));
    if verdict.is_failure() {
        subject.restart();
    }
    plan.deviations.judge(rule.id, verdict)
}

/// Whatever a script did on its own connection, the next one is served.
fn survives(subject: &Subject) -> Outcome {
    subject.connect()?.goes_on()
}
