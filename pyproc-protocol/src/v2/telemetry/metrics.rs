use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RecordError;

/// The names and values that tell one series of a metric from another.
pub type Labels = BTreeMap<String, String>;

/// Metrics of one process as they stand. Series that have not changed since the last report may be absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricsRecord {
    /// When the process began to count, in nanoseconds since the Unix epoch. Counters and histograms are
    /// totals since then; another start means that they began anew.
    pub start: u64,
    /// The metrics.
    pub metrics: Vec<Metric>,
}

/// One metric with its series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, in Prometheus's letters.
    pub name: String,
    /// What it counts, for people; may be empty.
    #[serde(default)]
    pub help: String,
    /// Its unit; empty when it has none, or the name says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What it is, and its values.
    #[serde(flatten)]
    pub data: MetricData,
}

/// What a metric is, and its values. On the wire told apart by the member `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetricData {
    /// A total that only grows.
    Counter {
        /// The totals.
        series: Vec<Series>,
    },
    /// A value that goes up and down.
    Gauge {
        /// How the values of several workers become one.
        #[serde(default)]
        across: Across,
        /// The values.
        series: Vec<Series>,
    },
    /// How often values fell between bounds.
    Histogram {
        /// The upper bounds of the buckets, growing, without the infinite one.
        bounds: Vec<f64>,
        /// The counts.
        series: Vec<HistogramSeries>,
    },
}

/// How the gauges of several workers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Across {
    /// They are added.
    Sum,
    /// The largest counts.
    Max,
    /// The least counts.
    Min,
    /// They stay apart, under a label `worker_id`.
    #[default]
    Each,
}

/// A value of a counter or a gauge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Which series it is; a metric without labels has one only.
    #[serde(default)]
    pub labels: Labels,
    /// The value, which is finite.
    pub value: f64,
}

/// A value of a histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistogramSeries {
    /// Which series it is; a metric without labels has one only.
    #[serde(default)]
    pub labels: Labels,
    /// How many values fell into each bucket: above the bound before, up to its own. The last is that of the values
    /// above all bounds.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: f64,
}

impl MetricsRecord {
    /// Itself, if each histogram's counts fit its bounds.
    pub(super) fn checked(self) -> Result<Self, RecordError> {
        match self.metrics.iter().find(|it| !it.data.is_consistent()) {
            None => Ok(self),
            Some(metric) => Err(RecordError::Histogram {
                name: metric.name.clone(),
            }),
        }
    }
}

impl MetricData {
    fn is_consistent(&self) -> bool {
        let Self::Histogram { bounds, series } = self else {
            return true;
        };
        let count = bounds.len() + 1;
        bounds.is_sorted_by(|a, b| a < b) && series.iter().all(|it| it.counts.len() == count)
    }
}
