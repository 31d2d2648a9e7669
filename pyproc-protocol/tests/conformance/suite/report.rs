//! The verdicts, as lines for people and as a result for programs.

use std::io::{self, Write};

use super::{
    Rule,
    level::Level,
    verdict::{Failure, Verdict},
};

pub(crate) struct Report {
    demanded: Option<Level>,
    level: Option<Level>,
    verdicts: Vec<(&'static str, Verdict)>,
}

impl Report {
    pub(super) fn new(demanded: Option<Level>) -> Self {
        Self {
            demanded,
            level: None,
            verdicts: Vec::new(),
        }
    }

    pub(super) fn reaches(&mut self, level: Level) {
        self.level = Some(level);
    }

    pub(crate) fn level(&self) -> Level {
        self.level.unwrap_or(Level::Calls)
    }

    pub(super) fn add(
        &mut self,
        rule: &Rule,
        verdict: Verdict,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        writeln!(out, "{:<5} {:<14} {}", rule.id, verdict.name(), rule.text)?;
        write_reason(&verdict, out)?;
        self.verdicts.push((rule.id, verdict));
        out.flush()
    }

    pub(super) fn cannot_start(
        mut self,
        verdict: Verdict,
        out: &mut dyn Write,
    ) -> io::Result<Self> {
        writeln!(out, "The worker cannot be tried.")?;
        write_reason(&verdict, out)?;
        self.verdicts.push(("start", verdict));
        Ok(self)
    }

    pub(super) fn close(&self, out: &mut dyn Write) -> io::Result<()> {
        let counts: Vec<_> = Verdict::NAMES
            .iter()
            .map(|name| (name, self.named(name).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let level = self.level();
        writeln!(out, "\nlevel reached: {level}; {}", counts.join(", "))?;
        match self.demanded.filter(|it| *it > level) {
            Some(demanded) => writeln!(out, "level demanded: {demanded}: not reached"),
            None => Ok(()),
        }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Verdict> {
        let verdicts = self.verdicts.iter().map(|(_, verdict)| verdict);
        verdicts.filter(move |it| it.name() == name)
    }

    /// Whether the worker keeps each rule of its level, which is at least the one that was demanded.
    pub(crate) fn conforms(&self) -> bool {
        let level = self.level.is_some() && self.demanded.is_none_or(|it| it <= self.level());
        level && self.failed().next().is_none()
    }

    /// The rules that it breaks, other than those that it is known to break.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &'static str> {
        let failed = self
            .verdicts
            .iter()
            .filter(|(_, verdict)| verdict.is_failure());
        failed.map(|(id, _)| *id)
    }
}

fn write_reason(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    match verdict {
        Verdict::Failed(failure) => write_failure(failure, out),
        Verdict::Known(reason) | Verdict::NotApplicable(reason) => writeln!(out, "      {reason}"),
        Verdict::NotTried(reason) => writeln!(out, "      {reason}"),
        Verdict::NotDeviating => writeln!(
            out,
            "      listed as a known failure, but it holds: take it off the list"
        ),
        Verdict::Pass | Verdict::NotReached => Ok(()),
    }
}

/// A long transcript is cut in its middle.
const FIRST_LINES: usize = 4;
const LAST_LINES: usize = 10;

fn write_failure(failure: &Failure, out: &mut dyn Write) -> io::Result<()> {
    let lines = &failure.transcript;
    let (first, rest) = lines.split_at(lines.len().min(FIRST_LINES));
    let left_out = rest.len().saturating_sub(LAST_LINES);
    for line in first {
        writeln!(out, "      {line}")?;
    }
    if left_out > 0 {
        writeln!(out, "      ... {left_out} more")?;
    }
    for line in &rest[left_out..] {
        writeln!(out, "      {line}")?;
    }
    writeln!(out, "      expected: {}", failure.expected)?;
    let came = failure.came.replace('\n', "\n          ");
    writeln!(out, "      came:     {came}")
}
