//! Values as they are reported, and how they add up.

use pyproc_pool::protocol::v2::telemetry::{Labels, MetricData, Series};

use super::{checks::Refusal, family::Kind};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(f64),
    /// Not cumulative over the buckets.
    Buckets {
        counts: Vec<u64>,
        sum: f64,
    },
}

impl Value {
    /// Whether it makes sense for this kind of metric.
    pub(super) fn check(&self, kind: &Kind) -> Result<(), Refusal> {
        let sound = match (self, kind) {
            (Self::Number(number), Kind::Counter) => number.is_finite() && *number >= 0.0,
            (Self::Number(number), Kind::Gauge(_)) => number.is_finite(),
            (Self::Buckets { counts, sum }, Kind::Histogram(bounds)) => {
                sum.is_finite() && counts.len() == bounds.len() + 1
            }
            _ => false,
        };
        match sound {
            true => Ok(()),
            false => Err(Refusal::Value),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Number(this), Self::Number(other)) => *this = sum(*this, *other),
            (
                Self::Buckets { counts, sum: total },
                Self::Buckets {
                    counts: others,
                    sum: other,
                },
            ) => {
                for (count, other) in counts.iter_mut().zip(others) {
                    *count = count.saturating_add(*other);
                }
                *total = sum(*total, *other);
            }
            // The kinds of one family are the same.
            _ => {}
        }
    }

    /// Whether it counts less than before, so that it must have begun anew.
    pub(super) fn fell_below(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Number(this), Self::Number(before)) => this < before,
            (Self::Buckets { counts, .. }, Self::Buckets { counts: before, .. }) => counts
                .iter()
                .zip(before)
                .any(|(this, before)| this < before),
            _ => false,
        }
    }
}

/// Of finite numbers, and finite: a total that became infinite would never be a number again.
pub(super) fn sum(a: f64, b: f64) -> f64 {
    (a + b).clamp(f64::MIN, f64::MAX)
}

/// What a report says of a metric; `None` if it is of a kind that only later versions know.
pub(super) fn kind_and_series(data: MetricData) -> Option<(Kind, Vec<(Labels, Value)>)> {
    let numbers = |series: Vec<Series>| {
        let series = series.into_iter();
        series
            .map(|it| (it.labels, Value::Number(it.value)))
            .collect()
    };
    match data {
        MetricData::Counter { series } => Some((Kind::Counter, numbers(series))),
        MetricData::Gauge { across, series } => Some((Kind::Gauge(across), numbers(series))),
        MetricData::Histogram { bounds, series } => {
            let series = series.into_iter().map(|it| {
                let (counts, sum) = (it.counts, it.sum);
                (it.labels, Value::Buckets { counts, sum })
            });
            Some((Kind::Histogram(bounds), series.collect()))
        }
        _ => None,
    }
}
