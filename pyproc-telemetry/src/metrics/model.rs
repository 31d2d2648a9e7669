//! Parts of metrics in the data model of the `prometheus` crate.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair};

/// A histogram from counts that are not cumulative. The last count is that of values above all bounds.
pub(super) fn histogram(bounds: &[f64], counts: &[u64], sum: f64) -> Histogram {
    let mut cumulative = 0_u64;
    let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
        cumulative = cumulative.saturating_add(*count);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    let all = counts
        .iter()
        .fold(0, |all: u64, count| all.saturating_add(*count));
    histogram.set_sample_count(all);
    histogram.set_sample_sum(sum);
    histogram
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

/// Reads a value in both data models of the `prometheus` crate. Any crate of the program may enable its feature
/// `protobuf`.
///
/// One model has an inherent method `get_value`, the other an inherent method `value`. Inherent methods take precedence
/// over a trait's. So in the first model `value` is this trait's, which calls the inherent `get_value`; in the second
/// model nothing here is called.
#[allow(dead_code, reason = "in each model the inherent one goes before it")]
pub(super) trait Reading {
    fn value(&self) -> f64;

    fn get_value(&self) -> f64 {
        f64::NAN
    }
}

impl Reading for Counter {
    fn value(&self) -> f64 {
        self.get_value()
    }
}

impl Reading for Gauge {
    fn value(&self) -> f64 {
        self.get_value()
    }
}
