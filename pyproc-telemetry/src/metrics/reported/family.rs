//! One metric: the values of all workers, and what they come to.

use std::collections::BTreeMap;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use pyproc_pool::protocol::v2::telemetry::{Across, Labels};

use super::{
    checks::{Refusal, WORKER},
    value::Value,
};
use crate::bridge::clipped;

const MAX_HELP: usize = 1024;

pub(super) struct Family {
    pub(super) kind: Kind,
    help: String,
    series: BTreeMap<Labels, Series>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge(Across),
    /// Upper bounds, without the infinite one.
    Histogram(Vec<f64>),
}

#[derive(Default)]
struct Series {
    /// What processes that are gone had counted.
    base: Option<Value>,
    /// What each worker's process said last.
    now: BTreeMap<usize, Value>,
}

impl Family {
    pub(super) fn new(help: &str, kind: Kind) -> Self {
        Self {
            kind,
            help: clipped(help, MAX_HELP).to_owned(),
            series: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Takes what a worker says of a series. Returns whether the series is new.
    pub(super) fn take(
        &mut self,
        worker: usize,
        labels: Labels,
        value: Value,
        room: bool,
    ) -> Result<bool, Refusal> {
        value.check(&self.kind)?;
        if let Some(series) = self.series.get_mut(&labels) {
            series.take(worker, value, &self.kind);
            return Ok(false);
        }
        let first = self.series.first_key_value();
        if first.is_some_and(|(first, _)| !first.keys().eq(labels.keys())) {
            return Err(Refusal::Labels);
        }
        if !room {
            return Err(Refusal::Limit);
        }
        let series = self.series.entry(labels).or_default();
        series.now.insert(worker, value);
        Ok(true)
    }

    /// The worker's process is another from now on: what the one before counted stays.
    pub(super) fn fold(&mut self, worker: usize) {
        for series in self.series.values_mut() {
            if let Some(last) = series.now.remove(&worker) {
                series.keep(&last);
            }
        }
    }

    /// Forgets what the worker said, if it is a gauge. Returns how many series are gone.
    pub(super) fn forget_gauge(&mut self, worker: usize) -> usize {
        if !matches!(self.kind, Kind::Gauge(_)) {
            return 0;
        }
        let before = self.series.len();
        self.series.retain(|_, series| {
            series.now.remove(&worker);
            !series.now.is_empty()
        });
        before - self.series.len()
    }

    pub(super) fn collect(&self, name: &str, constant: &[(String, String)]) -> MetricFamily {
        let mut metrics = Vec::with_capacity(self.series.len());
        for (labels, series) in &self.series {
            let labels = labels
                .iter()
                .chain(constant.iter().map(|(name, value)| (name, value)));
            let labels: Vec<_> = labels.map(|(name, value)| label(name, value)).collect();
            match &self.kind {
                Kind::Gauge(Across::Each) => {
                    metrics.extend(series.now.iter().map(|(worker, value)| {
                        let mut labels = labels.clone();
                        labels.push(label(WORKER, &worker.to_string()));
                        metric(labels, &self.kind, value)
                    }));
                }
                kind => metrics.extend(series.value(kind).map(|it| metric(labels, kind, &it))),
            }
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(self.help.clone());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge(_) => MetricType::GAUGE,
            Kind::Histogram(_) => MetricType::HISTOGRAM,
        });
        family.set_metric(metrics);
        family
    }
}

impl Series {
    fn take(&mut self, worker: usize, value: Value, kind: &Kind) {
        let before = self.now.insert(worker, value);
        let (Some(before), Some(value)) = (before, self.now.get(&worker)) else {
            return;
        };
        // The process cleared its counts.
        if !matches!(kind, Kind::Gauge(_)) && value.fell_below(&before) {
            self.keep(&before);
        }
    }

    fn keep(&mut self, value: &Value) {
        match &mut self.base {
            Some(base) => base.add(value),
            None => self.base = Some(value.clone()),
        }
    }

    /// What all workers' values come to.
    fn value(&self, kind: &Kind) -> Option<Value> {
        let numbers = self.now.values().map(|value| match value {
            Value::Number(number) => *number,
            Value::Buckets { .. } => 0.0,
        });
        match kind {
            Kind::Gauge(Across::Max) => numbers.reduce(f64::max).map(Value::Number),
            Kind::Gauge(Across::Min) => numbers.reduce(f64::min).map(Value::Number),
            _ => {
                let mut values = self.base.iter().chain(self.now.values());
                let mut sum = values.next()?.clone();
                values.for_each(|value| sum.add(value));
                Some(sum)
            }
        }
    }
}

fn metric(mut labels: Vec<LabelPair>, kind: &Kind, value: &Value) -> Metric {
    labels.sort_by(|a, b| a.name().cmp(b.name()));
    let mut metric = Metric::from_label(labels);
    match (kind, value) {
        (Kind::Counter, Value::Number(number)) => {
            let mut counter = Counter::default();
            counter.set_value(*number);
            metric.set_counter(counter);
        }
        (Kind::Gauge(_), Value::Number(number)) => {
            let mut gauge = Gauge::default();
            gauge.set_value(*number);
            metric.set_gauge(gauge);
        }
        (Kind::Histogram(bounds), Value::Buckets { counts, sum }) => {
            metric.set_histogram(histogram(bounds, counts, *sum));
        }
        // A family's values are of its kind.
        _ => {}
    }
    metric
}

fn histogram(bounds: &[f64], counts: &[u64], sum: f64) -> Histogram {
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

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}
