//! Checks of reported metrics.

use pyproc_pool::protocol::v2::telemetry::{Aggregation, Labels};

use super::kind::Kind;

const MAX_NAME: usize = 256;
const MAX_LABELS: usize = 32;
/// Names and values of one series' labels.
const MAX_LABEL_BYTES: usize = 4 * 1024;
const MAX_BOUNDS: usize = 128;

/// The suffix of a counter's name. Its family in OpenMetrics lacks it.
pub(super) const TOTAL: &str = "_total";
pub(super) const WORKER: &str = "worker_id";

/// Why a series was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a valid name of Prometheus, or a name that is in use.
    Name,
    /// The metric had another type or other bounds before.
    Kind,
    /// The metric had other labels before, or a label is invalid.
    Labels,
    Value,
    Limit,
}

impl Refusal {
    pub(super) const ALL: [Self; 5] = [
        Self::Name,
        Self::Kind,
        Self::Labels,
        Self::Value,
        Self::Limit,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Kind => "kind",
            Self::Labels => "labels",
            Self::Value => "value",
            Self::Limit => "limit",
        }
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let family = name.strip_suffix(TOTAL).unwrap_or(name);
    match name.len() <= MAX_NAME && is_name(family, b":") {
        true => Ok(()),
        false => Err(Refusal::Name),
    }
}

pub(super) fn check_bounds(kind: &Kind) -> Result<(), Refusal> {
    match kind {
        Kind::Histogram(bounds) if !bounds.iter().all(|it| it.is_finite()) => Err(Refusal::Value),
        Kind::Histogram(bounds) if bounds.len() > MAX_BOUNDS => Err(Refusal::Limit),
        _ => Ok(()),
    }
}

pub(super) fn check_labels(
    labels: &Labels,
    kind: &Kind,
    constant: &[(String, String)],
) -> Result<(), Refusal> {
    let bytes: usize = labels
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if labels.len() > MAX_LABELS || bytes > MAX_LABEL_BYTES {
        return Err(Refusal::Limit);
    }
    let reserved = |name: &str| match kind {
        Kind::Gauge(Aggregation::None) => name == WORKER,
        Kind::Histogram(_) => name == "le",
        _ => false,
    };
    let possible = |name: &String| {
        let known = constant.iter().any(|(constant, _)| constant == name);
        is_name(name, b"") && !name.starts_with("__") && !reserved(name) && !known
    };
    match labels.keys().all(possible) {
        true => Ok(()),
        false => Err(Refusal::Labels),
    }
}

/// All names of a metric's samples, in both formats.
pub(super) fn sample_names(name: &str, kind: &Kind) -> Vec<String> {
    let suffixes: &[&str] = match kind {
        Kind::Counter => &["", "_created"],
        Kind::Gauge(_) => &[""],
        Kind::Histogram(_) => &["", "_bucket", "_count", "_sum", "_created"],
    };
    let mut names: Vec<_> = suffixes
        .iter()
        .map(|suffix| format!("{name}{suffix}"))
        .collect();
    // In OpenMetrics a counter's family lacks the suffix.
    names.extend(name.strip_suffix(TOTAL).map(str::to_owned));
    names
}

/// All names that a metric's samples may have, for every kind.
pub(super) fn every_name(name: &str) -> Vec<String> {
    let kinds = [Kind::Counter, Kind::Histogram(Vec::new())];
    kinds
        .iter()
        .flat_map(|kind| sample_names(name, kind))
        .collect()
}

fn is_name(name: &str, also: &[u8]) -> bool {
    let letter = |it: u8| it.is_ascii_alphabetic() || it == b'_' || also.contains(&it);
    let (first, rest) = match name.as_bytes() {
        [first, rest @ ..] => (*first, rest),
        [] => return false,
    };
    letter(first) && rest.iter().all(|it| letter(*it) || it.is_ascii_digit())
}
