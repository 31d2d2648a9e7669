//! The share of an exposition, which is bounded, that a metric takes: a few labels can make many lines.

use std::ops::{Add, Sub};

use pyproc_pool::protocol::v2::telemetry::Labels;

use super::kind::Kind;

/// Series, and bytes as text of either format, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cost {
    pub(super) series: usize,
    pub(super) bytes: usize,
}

/// Lines of a family's header, without its name and help.
const HEADER: usize = 64;
/// A line without name, labels and bound.
const LINE: usize = 48;
/// The longest number, of which a series has one; counts are shorter.
const NUMBER: usize = 330;

impl Cost {
    /// Of a family without series.
    pub(super) fn of_family(name: &str, help: &str) -> Self {
        Self {
            series: 0,
            bytes: HEADER + 3 * name.len() + escaped(help),
        }
    }

    /// Of a series; `constant` are labels that it has beside its own.
    pub(super) fn of_series(
        name: &str,
        kind: &Kind,
        labels: &Labels,
        constant: &[(String, String)],
    ) -> Self {
        let own: usize = labels.iter().map(|(name, value)| pair(name, value)).sum();
        let constant = constant.iter().map(|(name, value)| pair(name, value));
        let line = LINE + name.len() + own + constant.sum::<usize>();
        let lines = match kind {
            Kind::Counter | Kind::Gauge(_) => line,
            Kind::Histogram(bounds) => {
                let bounds_as_text = bounds.iter().map(|it| it.to_string().len());
                (bounds.len() + 3) * line + bounds_as_text.sum::<usize>()
            }
        };
        Self {
            series: 1,
            bytes: NUMBER + lines,
        }
    }

    pub(super) fn fits(self, room: Self) -> bool {
        self.series <= room.series && self.bytes <= room.bytes
    }

    pub(super) fn times(self, count: usize) -> Self {
        Self {
            series: self.series * count,
            bytes: self.bytes * count,
        }
    }
}

fn pair(name: &str, value: &str) -> usize {
    name.len() + escaped(value) + 4
}

fn escaped(text: &str) -> usize {
    let escapes = text.bytes().filter(|it| matches!(it, b'\\' | b'\n' | b'"'));
    text.len() + escapes.count()
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            series: self.series + other.series,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// The difference, or zero.
impl Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            series: self.series.saturating_sub(other.series),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}
