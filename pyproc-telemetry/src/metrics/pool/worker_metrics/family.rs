//! One metric: the values of all workers, and their aggregate.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::Bound::{Excluded, Unbounded},
};

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use pyproc_pool::protocol::v2::telemetry::{Aggregation, Labels};

use super::{
    checks::{Refusal, WORKER},
    cost::Cost,
    kind::Kind,
    value::{Total, Value},
};
use crate::{
    metrics::model::{histogram, label},
    text::truncated,
};

const MAX_HELP: usize = 1024;

pub(super) struct Family {
    name: String,
    help: String,
    pub(super) kind: Kind,
    constant: Vec<(String, String)>,
    series: BTreeMap<Labels, Series>,
    /// Running processes that report it.
    reporters: BTreeSet<Source>,
    /// The cost of the family and its series.
    cost: Cost,
}

/// A process, by its slot and its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) worker: usize,
    pub(super) start: u64,
}

#[derive(Default)]
struct Series {
    /// The totals of processes that have ended.
    base: Total,
    /// The last value of each process.
    now: BTreeMap<Source, Value>,
}

impl Family {
    /// `constant` are labels that each series has in addition.
    pub(super) fn new(name: &str, help: &str, kind: Kind, constant: &[(String, String)]) -> Self {
        let help = truncated(help, MAX_HELP);
        Self {
            name: name.to_owned(),
            help: help.to_owned(),
            kind,
            constant: constant.into(),
            series: BTreeMap::new(),
            reporters: BTreeSet::new(),
            cost: Cost::of_family(name, help),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether all processes that reported it have ended.
    pub(super) fn is_orphaned(&self) -> bool {
        self.reporters.is_empty()
    }

    /// Whether its series, if there are any, have labels of these names.
    pub(super) fn has_labels_of(&self, labels: &Labels) -> bool {
        let first = self.series.first_key_value();
        first.is_none_or(|(first, _)| first.keys().eq(labels.keys()))
    }

    /// Records a process's value of a series, if its cost fits into `room`. Returns the added cost.
    pub(super) fn take(
        &mut self,
        source: Source,
        labels: Labels,
        value: Value,
        room: Cost,
    ) -> Result<Cost, Refusal> {
        value.check(&self.kind)?;
        let known = self.series.get(&labels);
        if known.is_none() && !self.has_labels_of(&labels) {
            return Err(Refusal::Labels);
        }
        let added = match known {
            Some(series) if !self.keeps_apart() || series.has(source.worker) => Cost::default(),
            _ => self.cost_of(&labels),
        };
        if !added.fits(room) {
            return Err(Refusal::Limit);
        }
        let series = self.series.entry(labels).or_default();
        series.take(source, value, &self.kind);
        self.reporters.insert(source);
        self.cost = self.cost + added;
        Ok(added)
    }

    /// Whether each worker has its own series.
    fn keeps_apart(&self) -> bool {
        matches!(self.kind, Kind::Gauge(Aggregation::None))
    }

    fn cost_of(&self, labels: &Labels) -> Cost {
        Cost::of_series(&self.name, &self.kind, labels, &self.constant)
    }

    /// Adds the totals of a process that reports no more to the base.
    pub(super) fn add_to_base(&mut self, source: Source) {
        for series in self.series.values_mut() {
            if let Some(last) = series.now.remove(&source) {
                series.base.add(&last);
            }
        }
    }

    /// Removes processes that have ended, and a gauge's values of these. Returns the cost that is freed.
    pub(super) fn remove_processes(&mut self, is_gone: impl Fn(&Source) -> bool) -> Cost {
        self.reporters.retain(|source| !is_gone(source));
        let mut less = Cost::default();
        if !matches!(self.kind, Kind::Gauge(_)) {
            return less;
        }
        let mut all = mem::take(&mut self.series);
        all.retain(|labels, series| {
            let before = self.shown(series);
            series.now.retain(|source, _| !is_gone(source));
            less = less + self.cost_of(labels).times(before - self.shown(series));
            !series.now.is_empty()
        });
        self.series = all;
        self.cost = self.cost - less;
        less
    }

    /// The number of series of a gauge.
    fn shown(&self, series: &Series) -> usize {
        match self.keeps_apart() {
            true => series.newest().count(),
            false => usize::from(!series.now.is_empty()),
        }
    }

    pub(super) fn collect(&self) -> MetricFamily {
        let mut metrics = Vec::with_capacity(self.series.len());
        for (labels, series) in &self.series {
            let constant = self.constant.iter().map(|(name, value)| (name, value));
            let labels = labels.iter().chain(constant);
            let labels: Vec<_> = labels.map(|(name, value)| label(name, value)).collect();
            match &self.kind {
                Kind::Gauge(Aggregation::None) => {
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
        family.set_name(self.name.clone());
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
        // The process reset its counts.
        if !matches!(kind, Kind::Gauge(_)) && value.fell_below(&before) {
            self.base.add(&before);
        }
    }

    fn has(&self, worker: usize) -> bool {
        self.now.keys().any(|source| source.worker == worker)
    }

    /// The values of the newest process of each slot.
    fn newest(&self) -> impl Iterator<Item = (&Source, &Value)> {
        let next = |source: &Source| self.now.range((Excluded(source), Unbounded)).next();
        let is_newest = move |(source, _): &(&Source, &Value)| {
            next(source).is_none_or(|(next, _)| next.worker != source.worker)
        };
        self.now.iter().filter(is_newest)
    }

    /// The aggregate of all workers' values.
    fn value(&self, kind: &Kind) -> Option<Value> {
        let of_each = || self.newest().map(|(_, value)| value);
        let numbers = || of_each().filter_map(Value::number);
        match kind {
            Kind::Gauge(Aggregation::Max) => numbers().reduce(f64::max).map(Value::Number),
            Kind::Gauge(Aggregation::Min) => numbers().reduce(f64::min).map(Value::Number),
            Kind::Gauge(_) => Some(total(Total::default(), of_each(), kind)),
            Kind::Counter | Kind::Histogram(_) => {
                Some(total(self.base.clone(), self.now.values(), kind))
            }
        }
    }
}

fn total<'a>(mut total: Total, values: impl Iterator<Item = &'a Value>, kind: &Kind) -> Value {
    values.for_each(|value| total.add(value));
    total.value(kind)
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
    use prometheus::TextEncoder;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    #[allow(unused_imports, reason = "in one data model it is not needed")]
    use crate::metrics::model::Reading as _;
    use crate::{Exemplars, metrics::exposition::openmetrics::series};

    const BOUNDS: [f64; 2] = [1.0, 2.0];
    const ROOM: Cost = Cost {
        series: usize::MAX,
        bytes: usize::MAX,
    };

    /// What happens to a series: a process reports a value, or is forgotten.
    #[derive(Debug, Clone)]
    enum Step {
        Take(u64, Value),
        AddToBase(u64),
    }

    fn steps(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<Step>> {
        let step = (0..4_u64, value, prop::bool::weighted(0.2));
        let step = step.prop_map(|(start, value, folds)| match folds {
            true => Step::AddToBase(start),
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
        let mut family = Family::new("a", "", kind.clone(), &[]);
        let mut metrics = Vec::new();
        for step in steps {
            let source = |start| Source { worker: 0, start };
            match step {
                Step::AddToBase(start) => family.add_to_base(source(start)),
                Step::Take(start, value) => {
                    let taken = family.take(source(start), Labels::new(), value, ROOM);
                    assert!(taken.is_ok());
                }
            }
            metrics.extend_from_slice(family.collect().get_metric());
        }
        metrics
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        let bounds = vec(
            any::<f64>().prop_filter("finite", |it| it.is_finite()),
            0..5,
        );
        prop_oneof![
            Just(Kind::Counter),
            Just(Kind::Gauge(Aggregation::None)),
            Just(Kind::Gauge(Aggregation::Sum)),
            bounds.prop_map(|mut bounds| {
                bounds.sort_by(f64::total_cmp);
                Kind::Histogram(bounds)
            }),
        ]
    }

    /// How long it is as text, whichever format is longer.
    fn length(family: &Family) -> usize {
        let collected = family.collect();
        let text = TextEncoder::new().encode_to_string(std::slice::from_ref(&collected));
        let (mut open, exemplars) = (Vec::new(), Exemplars::default());
        for (number, metric) in collected.get_metric().iter().enumerate() {
            let written = series(&collected, metric, number == 0, &exemplars, &mut open);
            assert!(written.is_ok());
        }
        text.unwrap().len().max(open.len())
    }

    proptest! {
        #[test]
        fn no_family_takes_more_than_it_is_said_to_cost(
            kind in kinds(),
            values in vec((0..3_usize, ".{0,9}", any::<f64>()), 1..9),
            help in ".{0,9}",
            gone in 0..3_usize,
        ) {
            let constant = [("pool".to_owned(), "a\"b".to_owned())];
            let mut family = Family::new("took_seconds", &help, kind.clone(), &constant);
            for (worker, label, number) in values {
                let value = match &kind {
                    Kind::Histogram(bounds) => Value::Buckets {
                        counts: vec![u64::MAX; bounds.len() + 1],
                        sum: number,
                    },
                    _ => Value::Number(number),
                };
                let labels = [("kind".to_owned(), label)].into();
                // Some values are invalid.
                let _ = family.take(Source { worker, start: 0 }, labels, value, ROOM);
            }
            prop_assume!(!family.is_empty());
            let (series, cost) = (family.collect().get_metric().len(), family.cost());
            prop_assert_eq!(series, cost.series);
            prop_assert!(length(&family) <= cost.bytes, "{} > {}", length(&family), cost.bytes);
            let less = family.remove_processes(|it| it.worker == gone);
            prop_assert_eq!(family.collect().get_metric().len(), cost.series - less.series);
            prop_assert_eq!(family.cost(), cost - less);
        }

        #[test]
        fn counters_stay_finite_and_never_fall(
            steps in prop_oneof![
                steps((0.0..1e6).prop_map(Value::Number)),
                steps(number().prop_map(Value::Number)),
            ],
        ) {
            let totals = after_each(&Kind::Counter, steps);
            let totals: Vec<_> = totals.iter().map(|it| it.get_counter().value()).collect();
            prop_assert!(totals.iter().all(|it| it.is_finite()));
            prop_assert!(totals.is_sorted(), "{totals:?}");
        }

        #[test]
        fn gauges_that_are_added_stay_finite(values in vec(number(), 1..5), negative in any::<bool>()) {
            let mut family = Family::new("a", "", Kind::Gauge(Aggregation::Sum), &[]);
            for (worker, value) in values.into_iter().enumerate() {
                let value = Value::Number(if negative { -value } else { value });
                let taken = family.take(Source { worker, start: 0 }, Labels::new(), value, ROOM);
                prop_assert!(taken.is_ok());
            }
            let families = family.collect();
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
