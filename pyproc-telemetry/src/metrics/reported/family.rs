//! One metric: the values of all workers, and what they come to.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use pyproc_pool::protocol::v2::telemetry::{Across, Labels};

use super::{
    checks::{Refusal, WORKER},
    value::{Value, sum},
};
use crate::bridge::clipped;
use crate::metrics::writing::{histogram, label};

const MAX_HELP: usize = 1024;

pub(super) struct Family {
    pub(super) kind: Kind,
    help: String,
    series: BTreeMap<Labels, Series>,
    /// Processes that report it, and are there.
    reporters: BTreeSet<Source>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge(Across),
    /// Upper bounds, without the infinite one.
    Histogram(Vec<f64>),
}

/// A process, by the slot that it has or had and when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) worker: usize,
    pub(super) start: u64,
}

#[derive(Default)]
struct Series {
    /// What processes that are gone had counted.
    base: Option<Value>,
    /// What each process said last.
    now: BTreeMap<Source, Value>,
}

impl Family {
    pub(super) fn new(help: &str, kind: Kind) -> Self {
        Self {
            kind,
            help: clipped(help, MAX_HELP).to_owned(),
            series: BTreeMap::new(),
            reporters: BTreeSet::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether all processes that reported it are gone.
    pub(super) fn is_left(&self) -> bool {
        self.reporters.is_empty()
    }

    /// Whether it has series with labels of these names, as far as it has any.
    pub(super) fn has_labels_of(&self, labels: &Labels) -> bool {
        let first = self.series.first_key_value();
        first.is_none_or(|(first, _)| first.keys().eq(labels.keys()))
    }

    /// Takes what a process says of a series. Returns whether the series is new.
    pub(super) fn take(
        &mut self,
        source: Source,
        labels: Labels,
        value: Value,
        room: bool,
    ) -> Result<bool, Refusal> {
        value.check(&self.kind)?;
        if let Some(series) = self.series.get_mut(&labels) {
            series.take(source, value, &self.kind);
            self.reporters.insert(source);
            return Ok(false);
        }
        if !self.has_labels_of(&labels) {
            return Err(Refusal::Labels);
        }
        if !room {
            return Err(Refusal::Limit);
        }
        let series = self.series.entry(labels).or_default();
        series.now.insert(source, value);
        self.reporters.insert(source);
        Ok(true)
    }

    /// The process reports no more: what it counted stays.
    pub(super) fn fold(&mut self, source: Source) {
        for series in self.series.values_mut() {
            if let Some(last) = series.now.remove(&source) {
                series.keep(&last);
            }
        }
    }

    /// These processes are gone: forgets what they said, if it is a gauge. Returns how many series are gone.
    pub(super) fn leave(&mut self, is_gone: impl Fn(&Source) -> bool) -> usize {
        self.reporters.retain(|source| !is_gone(source));
        if !matches!(self.kind, Kind::Gauge(_)) {
            return 0;
        }
        let before = self.series.len();
        self.series.retain(|_, series| {
            series.now.retain(|source, _| !is_gone(source));
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
                    metrics.extend(series.newest().map(|(source, value)| {
                        let mut labels = labels.clone();
                        labels.push(label(WORKER, &source.worker.to_string()));
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
    fn take(&mut self, source: Source, value: Value, kind: &Kind) {
        let before = self.now.insert(source, value);
        let (Some(before), Some(value)) = (before, self.now.get(&source)) else {
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

    /// What the newest process of each slot said.
    fn newest(&self) -> impl Iterator<Item = (&Source, &Value)> {
        let next = |source: &Source| self.now.range((Excluded(source), Unbounded)).next();
        let is_newest = move |(source, _): &(&Source, &Value)| {
            next(source).is_none_or(|(next, _)| next.worker != source.worker)
        };
        self.now.iter().filter(is_newest)
    }

    /// What all workers' values come to.
    fn value(&self, kind: &Kind) -> Option<Value> {
        let numbers = self.newest().map(|(_, value)| match value {
            Value::Number(number) => *number,
            Value::Buckets { .. } => 0.0,
        });
        match kind {
            Kind::Gauge(Across::Max) => numbers.reduce(f64::max).map(Value::Number),
            Kind::Gauge(Across::Min) => numbers.reduce(f64::min).map(Value::Number),
            Kind::Gauge(_) => numbers.reduce(sum).map(Value::Number),
            Kind::Counter | Kind::Histogram(_) => {
                let mut values = self.base.iter().chain(self.now.values());
                let mut total = values.next()?.clone();
                values.for_each(|value| total.add(value));
                Some(total)
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    #[allow(unused_imports, reason = "in one data model it is not needed")]
    use crate::metrics::reading::Reading as _;

    const BOUNDS: [f64; 2] = [1.0, 2.0];

    /// What befalls a series: a process reports a value, or is forgotten.
    #[derive(Debug, Clone)]
    enum Step {
        Take(u64, Value),
        Fold(u64),
    }

    fn steps(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<Step>> {
        let step = (0..4_u64, value, prop::bool::weighted(0.2));
        let step = step.prop_map(|(start, value, folds)| match folds {
            true => Step::Fold(start),
            false => Step::Take(start, value),
        });
        vec(step, 1..40)
    }

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            0.0..1e6,
            Just(f64::MAX),
            Just(f64::MAX / 2.0),
            0.0..f64::MAX
        ]
    }

    fn buckets() -> impl Strategy<Value = Value> {
        let count = prop_oneof![0..100_u64, Just(u64::MAX), any::<u64>()];
        let sum = (number(), any::<bool>()).prop_map(|(it, minus)| if minus { -it } else { it });
        (vec(count, BOUNDS.len() + 1), sum).prop_map(|(counts, sum)| Value::Buckets { counts, sum })
    }

    /// The metric after each step.
    fn after_each(kind: &Kind, steps: Vec<Step>) -> Vec<Metric> {
        let mut family = Family::new("", kind.clone());
        let mut metrics = Vec::new();
        for step in steps {
            let source = |start| Source { worker: 0, start };
            match step {
                Step::Fold(start) => family.fold(source(start)),
                Step::Take(start, value) => {
                    let taken = family.take(source(start), Labels::new(), value, true);
                    assert!(taken.is_ok());
                }
            }
            metrics.extend_from_slice(family.collect("a", &[]).get_metric());
        }
        metrics
    }

    proptest! {
        #[test]
        fn counters_stay_finite_and_never_fall(steps in steps(number().prop_map(Value::Number))) {
            let totals = after_each(&Kind::Counter, steps);
            let totals: Vec<_> = totals.iter().map(|it| it.get_counter().value()).collect();
            prop_assert!(totals.iter().all(|it| it.is_finite()));
            // Processes are added in another order once they are gone, so the last digit may differ.
            prop_assert!(totals.windows(2).all(|it| it[1] >= it[0] * (1.0 - 1e-12)), "{totals:?}");
        }

        #[test]
        fn gauges_that_are_added_stay_finite(values in vec(number(), 1..5), negative in any::<bool>()) {
            let mut family = Family::new("", Kind::Gauge(Across::Sum));
            for (worker, value) in values.into_iter().enumerate() {
                let value = Value::Number(if negative { -value } else { value });
                let taken = family.take(Source { worker, start: 0 }, Labels::new(), value, true);
                prop_assert!(taken.is_ok());
            }
            let families = family.collect("a", &[]);
            prop_assert!(families.get_metric()[0].get_gauge().value().is_finite());
        }

        #[test]
        fn histograms_never_fall_and_their_buckets_stay_cumulative(steps in steps(buckets())) {
            let metrics = after_each(&Kind::Histogram(BOUNDS.into()), steps);
            let mut before = vec![0; BOUNDS.len() + 1];
            for metric in &metrics {
                let histogram = metric.get_histogram();
                let within = histogram.get_bucket().iter().map(|it| it.cumulative_count());
                let counts: Vec<_> = within.chain([histogram.get_sample_count()]).collect();
                prop_assert!(counts.is_sorted(), "{counts:?}");
                prop_assert!(counts.iter().zip(&before).all(|(now, before)| now >= before));
                prop_assert!(histogram.get_sample_sum().is_finite());
                before = counts;
            }
        }
    }
}
