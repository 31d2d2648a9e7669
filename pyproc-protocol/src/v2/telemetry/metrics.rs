use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::lenient;

/// The names and values that tell one series of a metric from another.
pub type Labels = BTreeMap<String, String>;

/// Metrics of one process as they stand. Series that have not changed since the last report may be absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MetricsRecord {
    /// When the process began to count, in nanoseconds since the Unix epoch. Counters and histograms are
    /// totals since then; another start means that they began anew.
    pub start: u64,
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// Those of the same report that could not be read. They are not written.
    #[serde(skip)]
    pub unreadable: Vec<UnreadableMetric>,
}

/// A metric that could not be read, of a record that otherwise could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableMetric {
    /// Its name; empty if not even that could be read.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A record, of which each metric is read by itself.
#[derive(Deserialize)]
struct Report<'a> {
    #[serde(deserialize_with = "lenient::integer")]
    start: u64,
    #[serde(borrow)]
    metrics: Vec<&'a RawValue>,
}

/// One metric with its series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, in Prometheus's letters.
    pub name: String,
    /// What it counts, for people; may be empty.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub help: String,
    /// Its unit; empty when it has none, or the name says it.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
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
        #[serde(default, deserialize_with = "lenient::or_default")]
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
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub labels: Labels,
    /// The value, which is finite.
    pub value: f64,
}

/// A value of a histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistogramSeries {
    /// Which series it is; a metric without labels has one only.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub labels: Labels,
    /// How many values fell into each bucket: above the bound before, up to its own. The last is that of the values
    /// above all bounds.
    #[serde(deserialize_with = "lenient::integers")]
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: f64,
}

impl MetricsRecord {
    /// Reads a line. A metric that cannot be read takes no other with it.
    pub(super) fn read(line: &[u8]) -> serde_json::Result<Self> {
        let report: Report<'_> = serde_json::from_slice(line)?;
        let mut record = Self {
            start: report.start,
            ..Self::default()
        };
        for raw in report.metrics {
            match Metric::read(raw) {
                Ok(metric) => record.metrics.push(metric),
                Err(unreadable) => record.unreadable.push(unreadable),
            }
        }
        Ok(record)
    }
}

impl Metric {
    fn read(raw: &RawValue) -> Result<Self, UnreadableMetric> {
        let read: Self = serde_json::from_str(raw.get()).map_err(|error| UnreadableMetric {
            name: name_of(raw).unwrap_or_default(),
            reason: error.to_string(),
        })?;
        match read.data.is_consistent() {
            true => Ok(read),
            false => Err(UnreadableMetric {
                name: read.name,
                reason: "a histogram needs growing bounds, and one count more than bounds".into(),
            }),
        }
    }
}

fn name_of(raw: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let named: Named = serde_json::from_str(raw.get()).ok()?;
    Some(named.name)
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
