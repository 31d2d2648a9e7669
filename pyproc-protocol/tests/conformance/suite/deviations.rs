//! Rules that a worker is known to break: a file with one in each line, its number and the reason.

use std::{fs, io, path::Path};

use super::verdict::Verdict;

#[derive(Debug, Default)]
pub(crate) struct Deviations(Vec<(String, String)>);

impl Deviations {
    /// Reads a file. Empty lines, and those that begin with `#`, say nothing.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(path)?))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entries = lines.map(|line| line.split_once(' ').unwrap_or((line, "no reason given")));
        Self(
            entries
                .map(|(id, reason)| (id.into(), reason.trim().into()))
                .collect(),
        )
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| id.as_str())
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.rules().any(|listed| listed == id)
    }

    /// A failure that is listed is known, and a rule that holds although it is listed makes the list untrue.
    pub(super) fn judge(&self, id: &str, verdict: Verdict) -> Verdict {
        let listed = self.0.iter().find(|(listed, _)| listed == id);
        match (verdict, listed) {
            (Verdict::Failed(_), Some((_, reason))) => Verdict::Known(reason.clone()),
            (Verdict::Pass(_), Some(_)) => Verdict::NotDeviating,
            (verdict, _) => verdict,
        }
    }
}
