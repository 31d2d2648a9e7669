//! Reported values, and their sums.

use pyproc_pool::protocol::v2::telemetry::{Labels, MetricData, Series};

use super::{checks::Refusal, kind::Kind};

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
    /// Whether the value is valid for this kind of metric.
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

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Buckets { .. } => None,
        }
    }

    /// Whether it is less than before, so that the count has started again.
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

/// A sum that is rounded only at its end, so it does not depend on the order of its parts: Prometheus treats a total
/// that falls by its last digit as a reset.
#[derive(Debug, Clone, Default)]
pub(super) struct Total {
    counts: Vec<u64>,
    sum: f64,
    /// The rounding error of `sum`.
    rest: f64,
}

impl Total {
    pub(super) fn add(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.add_number(*number),
            Value::Buckets { counts, sum } => {
                self.counts.resize(counts.len(), 0);
                for (all, count) in self.counts.iter_mut().zip(counts) {
                    *all = all.saturating_add(*count);
                }
                self.add_number(*sum);
            }
        }
    }

    /// The sum stays finite: an infinite total would never become a number again.
    fn add_number(&mut self, number: f64) {
        let sum = self.sum + number;
        if !sum.is_finite() {
            (self.sum, self.rest) = (sum.clamp(f64::MIN, f64::MAX), 0.0);
            return;
        }
        let (large, small) = match self.sum.abs() >= number.abs() {
            true => (self.sum, number),
            false => (number, self.sum),
        };
        self.rest += (large - sum) + small;
        self.sum = sum;
    }

    fn number(&self) -> f64 {
        (self.sum + self.rest).clamp(f64::MIN, f64::MAX)
    }

    pub(super) fn value(self, kind: &Kind) -> Value {
        let sum = self.number();
        match kind {
            Kind::Histogram(_) => Value::Buckets {
                counts: self.counts,
                sum,
            },
            Kind::Counter | Kind::Gauge(_) => Value::Number(sum),
        }
    }
}

/// The kind and the series of a reported metric. `None` for a kind of a later protocol version.
pub(super) fn kind_and_series(data: MetricData) -> Option<(Kind, Vec<(Labels, Value)>)> {
    let numbers = |series: Vec<Series>| {
        let series = series.into_iter();
        series
            .map(|it| (it.labels, Value::Number(it.value)))
            .collect()
    };
    match data {
        MetricData::Counter { series } => Some((Kind::Counter, numbers(series))),
        MetricData::Gauge {
            aggregation,
            series,
        } => Some((Kind::Gauge(aggregation), numbers(series))),
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
