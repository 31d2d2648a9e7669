use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::lenient;

/// The names and values that distinguish the series of a metric.
pub type Labels = BTreeMap<String, String>;

/// Current values of the metrics of one process. Series that did not change since the last record may be absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MetricsRecord {
    /// The start of counting, in nanoseconds since the Unix epoch. Counters and histograms are totals since then. A new
    /// start means that they began at zero again.
    pub start: u64,
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// Metrics of the same record that could not be decoded. They are not encoded.
    #[serde(skip)]
    pub unreadable: Vec<UnreadableMetric>,
}

/// A metric that could not be decoded, of a record whose other metrics could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableMetric {
    /// The metric's name; empty if it could not be decoded.
    pub name: String,
    /// The cause.
    pub reason: String,
}

/// A record whose metrics are decoded one by one.
#[derive(Deserialize)]
struct RawRecord<'a> {
    #[serde(deserialize_with = "lenient::integer")]
    start: u64,
    #[serde(borrow)]
    metrics: Vec<&'a RawValue>,
}

/// One metric with its series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The metric's name, in the characters that Prometheus allows.
    pub name: String,
    /// A description for people; may be empty.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub help: String,
    /// The unit; empty if there is none, or if it is part of the name.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub unit: String,
    /// The metric's kind and values.
    #[serde(flatten)]
    pub data: MetricData,
}

/// The kind of a metric and its values. On the wire the member `kind` distinguishes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetricData {
    /// A total that only increases.
    Counter {
        /// The totals.
        series: Vec<Series>,
    },
    /// A value that increases and decreases.
    Gauge {
        /// How the values of several workers are combined.
        #[serde(rename = "across", default, deserialize_with = "lenient::or_default")]
        aggregation: Aggregation,
        /// The values.
        series: Vec<Series>,
    },
    /// How many values fell into each bucket.
    Histogram {
        /// The upper bounds of the buckets, increasing, without the infinite one.
        bounds: Vec<f64>,
        /// The counts.
        series: Vec<HistogramSeries>,
    },
}

/// How the gauges of several workers are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// Their sum.
    Sum,
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
    /// No aggregation: each worker has its own series, with a label `worker_id`.
    #[default]
    #[serde(rename = "each")]
    None,
}

/// A value of a counter or a gauge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The labels; a metric without labels has one series only.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub labels: Labels,
    /// The value; always finite.
    pub value: f64,
}

/// A value of a histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistogramSeries {
    /// The labels; a metric without labels has one series only.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub labels: Labels,
    /// The number of values in each bucket: above the previous bound, up to its own. The last bucket has the values above
    /// all bounds.
    #[serde(deserialize_with = "lenient::integers")]
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: f64,
}

impl MetricsRecord {
    /// Decodes a line. A metric that cannot be decoded does not affect the others.
    pub(super) fn decode(line: &[u8]) -> serde_json::Result<Self> {
        let raw_record: RawRecord<'_> = serde_json::from_slice(line)?;
        let mut record = Self {
            start: raw_record.start,
            ..Self::default()
        };
        for raw in raw_record.metrics {
            match Metric::decode(raw) {
                Ok(metric) => record.metrics.push(metric),
                Err(unreadable) => record.unreadable.push(unreadable),
            }
        }
        Ok(record)
    }
}

impl Metric {
    fn decode(raw: &RawValue) -> Result<Self, UnreadableMetric> {
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
