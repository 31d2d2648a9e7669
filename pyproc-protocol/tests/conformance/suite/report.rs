//! The verdicts, as lines for people and as a result for programs.

use std::io::{self, Write};

use super::{
    Plan, Rule,
    level::Level,
    verdict::{Failure, Verdict},
};

pub(crate) struct Report {
    /// `None` if the worker cannot be tried.
    claimed: Option<Level>,
    demanded: Option<Level>,
    /// Not if only some rules are tried: they say nothing of a level.
    is_whole: bool,
    verbose: bool,
    verdicts: Vec<(Rule, Verdict)>,
}

impl Report {
    pub(super) fn new(claimed: Level, plan: &Plan) -> Self {
        Self {
            claimed: Some(claimed),
            demanded: plan.demanded,
            is_whole: plan.only.is_empty(),
            verbose: plan.verbose,
            verdicts: Vec::new(),
        }
    }

    pub(super) fn cannot_start(verdict: Verdict, out: &mut dyn Write) -> io::Result<Self> {
        writeln!(out, "The worker cannot be tried.")?;
        write_reason(&verdict, out)?;
        Ok(Self {
            claimed: None,
            demanded: None,
            is_whole: false,
            verbose: false,
            verdicts: Vec::new(),
        })
    }

    pub(super) fn add(
        &mut self,
        rule: &Rule,
        verdict: Verdict,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if self.verbose || !matches!(verdict, Verdict::NotReached) {
            writeln!(out, "{:<5} {:<14} {}", rule.id, verdict.name(), rule.text)?;
            write_reason(&verdict, out)?;
        }
        self.verdicts.push((*rule, verdict));
        out.flush()
    }

    pub(super) fn close(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(claimed) = self.claimed else {
            return Ok(());
        };
        for level in Level::ALL.into_iter().filter(|it| *it > claimed) {
            let count = self.of(level).count();
            if count > 0 && !self.verbose {
                let number = level as u8;
                writeln!(
                    out,
                    "{number}-... not reached    {count} of the rules of level {level}"
                )?;
            }
        }
        let counts: Vec<_> = Verdict::NAMES
            .iter()
            .map(|name| (name, self.named(name).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        writeln!(out, "\n{}\nlevel claimed: {claimed}", counts.join(", "))?;
        if self.is_whole {
            self.write_reached(claimed, out)?;
        }
        match self.demanded.filter(|it| *it > claimed) {
            Some(demanded) => writeln!(
                out,
                "level {} was asked for, and the worker claims {claimed}",
                demanded as u8
            ),
            None => Ok(()),
        }
    }

    fn write_reached(&self, claimed: Level, out: &mut dyn Write) -> io::Result<()> {
        let reached = self.reached();
        if let Some(reached) = reached {
            writeln!(out, "level reached: {reached}")?;
        }
        let next = Level::ALL.into_iter().find(|it| Some(*it) > reached);
        match next.filter(|it| *it <= claimed) {
            Some(next) => writeln!(
                out,
                "level {} not reached: {}",
                next as u8,
                self.broken(next)
            ),
            None => Ok(()),
        }
    }

    /// The highest level up to which each rule that was tried holds. `None` without any, or if not all rules were tried.
    pub(crate) fn reached(&self) -> Option<Level> {
        let claimed = self.claimed.filter(|_| self.is_whole)?;
        let holds = |level: &Level| *level <= claimed && !self.of(*level).any(|it| it.is_broken());
        Level::ALL.into_iter().take_while(holds).last()
    }

    fn broken(&self, level: Level) -> String {
        let broken = self.of(level).filter(|it| it.is_broken());
        let (known, failed): (Vec<_>, Vec<_>) =
            broken.partition(|it| matches!(it, Verdict::Known(_)));
        match (failed.len(), known.len()) {
            (1, 0) => "1 rule failed".into(),
            (failed, 0) => format!("{failed} rules failed"),
            (0, known) => format!("{known} known failures"),
            (failed, known) => format!("{failed} rules failed, and {known} known failures"),
        }
    }

    fn of(&self, level: Level) -> impl Iterator<Item = &Verdict> {
        let of_level = self
            .verdicts
            .iter()
            .filter(move |(rule, _)| rule.level == level);
        of_level.map(|(_, verdict)| verdict)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Verdict> {
        let verdicts = self.verdicts.iter().map(|(_, verdict)| verdict);
        verdicts.filter(move |it| it.name() == name)
    }

    /// Whether the worker keeps each rule of the level that it claims, which is at least the one that was demanded, other than those
    /// that it is known to break.
    pub(crate) fn conforms(&self) -> bool {
        let level = self
            .claimed
            .is_some_and(|it| self.demanded.is_none_or(|demanded| demanded <= it));
        level && self.failed().next().is_none()
    }

    /// The rules that it breaks, other than those that it is known to break.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &'static str> {
        let failed = self
            .verdicts
            .iter()
            .filter(|(_, verdict)| verdict.is_failure());
        failed.map(|(rule, _)| rule.id)
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
        Verdict::Pass(remarks) => remarks
            .iter()
            .try_for_each(|remark| writeln!(out, "      {remark}")),
        Verdict::NotReached => Ok(()),
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
