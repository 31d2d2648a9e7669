//! Metrics that workers report: those of Python code, and those of Python's runtime.
//!
//! A worker reports the totals of its process since its start. This room aggregates the reports of all workers. What
//! must stay true: counters and histograms never fall, also across restarts; gauges end with their process; all metrics
//! together have bounded series and bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus::{
    Error, IntCounterVec, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use pyproc_pool::{
    observe::{RecordOrigin, WorkerEvent},
    protocol::v2::telemetry::{Labels, LostRecord, Metric, MetricData, MetricsRecord},
};

use self::{
    checks::{Refusal, TOTAL, check_bounds, check_labels, check_name, every_name, sample_names},
    cost::Cost,
    family::{Family, Source},
    kind::Kind,
    processes::Processes,
    value::{Value, kind_and_series},
};
use super::builder::PoolMetricsBuilder;
use crate::metrics::exposition::{self, OMITTED};

mod checks;
mod cost;
mod family;
mod kind;
mod names;
mod processes;
mod value;

/// The limit for all of these metrics together: half the limit of an exposition, so that there is room for others.
const MOST: Cost = Cost {
    series: 10_000,
    bytes: exposition::MAX_BYTES / 2,
};

const LOG: &str = "log";
const SPAN: &str = "span";

pub(super) struct WorkerMetrics {
    /// Labels that each metric has.
    labels: Vec<(String, String)>,
    refused: IntCounterVec,
    lost: IntCounterVec,
    state: Mutex<State>,
}

struct State {
    families: BTreeMap<String, Family>,
    /// Names of samples that are in use, by these families and by the pool's own metrics.
    names: BTreeSet<String>,
    /// By slot.
    processes: BTreeMap<usize, Processes>,
    cost: Cost,
    refused: IntCounterVec,
}

impl WorkerMetrics {
    /// `own` are the descriptions of the pool's other metrics, whose names are reserved.
    pub(super) fn new(settings: &PoolMetricsBuilder, own: Vec<&Desc>) -> Result<Self, Error> {
        let counter = |name, help, label| IntCounterVec::new(settings.opts(name, help), &[label]);
        let refused = counter(
            "pyproc_worker_metrics_refused_total",
            "Series in reports of workers that were not taken, by why.",
            "reason",
        )?;
        let lost = counter(
            "pyproc_worker_records_lost_total",
            "Log records and spans of workers that were lost on the way to the pool.",
            "record",
        )?;
        for reason in Refusal::ALL {
            refused.with_label_values(&[reason.as_str()]);
        }
        for record in [LOG, SPAN] {
            lost.with_label_values(&[record]);
        }
        let also = [refused.desc(), lost.desc()].concat();
        let taken = own.into_iter().chain(also);
        let taken = taken.map(|it| &*it.fq_name).chain([OMITTED]);
        let names = taken.flat_map(every_name).collect();
        Ok(Self {
            labels: settings.labels.clone(),
            state: Mutex::new(State {
                families: BTreeMap::new(),
                names,
                processes: BTreeMap::new(),
                cost: Cost::default(),
                refused: refused.clone(),
            }),
            refused,
            lost,
        })
    }

    /// Adds a worker's report. `registry` is the one that these metrics are in.
    pub(super) fn record(
        &self,
        from: RecordOrigin,
        mut record: MetricsRecord,
        registry: &Registry,
    ) {
        record.metrics.iter_mut().for_each(end_as_total);
        // A scrape locks the registry first, so the registry is read before the lock here is taken.
        let taken = self.taken(&record.metrics, registry);
        let mut state = self.state();
        let source = state.source(from, record.start);
        for metric in record.metrics {
            state.take(source, metric, &self.labels, &taken);
        }
    }

    /// The names of new or orphaned metrics that the service uses for metrics of its own.
    fn taken(&self, metrics: &[Metric], registry: &Registry) -> BTreeSet<String> {
        let state = self.state();
        let new = metrics
            .iter()
            .filter(|it| state.families.get(&it.name).is_none_or(Family::is_orphaned));
        let new: Vec<_> = new.flat_map(|it| every_name(&it.name)).collect();
        drop(state);
        new.into_iter()
            .filter(|name| names::is_taken(registry, name, &self.labels))
            .collect()
    }

    /// Removes the gauges of a process that has ended. Its counts stay.
    pub(super) fn note(&self, event: &WorkerEvent<'_>) {
        let mut state = self.state();
        let (worker, but) = match *event {
            WorkerEvent::Ready { worker, pid, .. } => {
                state.processes(worker).begins(pid);
                (worker, None)
            }
            WorkerEvent::Reloaded { worker, pid } => return state.processes(worker).replaces(pid),
            WorkerEvent::Replaced { worker, .. } => {
                let processes = state.processes(worker);
                processes.replaced_ended();
                (worker, processes.serving_since())
            }
            WorkerEvent::Died { worker, .. }
            | WorkerEvent::Drained { worker }
            | WorkerEvent::Stopped { worker } => {
                state.processes(worker).ended();
                (worker, None)
            }
            _ => return,
        };
        state.remove_processes(|it| it.worker == worker && Some(it.start) != but);
    }

    /// Counts records that workers dropped. A worker may report any number, so the counters saturate.
    pub(super) fn lost(&self, lost: LostRecord) {
        let _one = self.state();
        for (record, count) in [(LOG, lost.logs), (SPAN, lost.spans)] {
            let counter = self.lost.with_label_values(&[record]);
            counter.inc_by(count.min(u64::MAX - counter.get()));
        }
    }

    pub(super) fn desc(&self) -> Vec<&Desc> {
        [self.refused.desc(), self.lost.desc()].concat()
    }

    /// Reported metrics have no descriptions.
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let mut collected = [self.refused.collect(), self.lost.collect()].concat();
        let state = self.state();
        collected.extend(state.families.values().map(Family::collect));
        collected
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The source of a report. A new process counts from zero, added to the totals of earlier processes.
    fn source(&mut self, from: RecordOrigin, start: u64) -> Source {
        let RecordOrigin { worker, pid, .. } = from;
        if let Some(start) = self.processes(worker).report(start, pid) {
            let forgotten = Source { worker, start };
            // A gauge's values are not kept.
            self.remove_processes(|it| *it == forgotten);
            for family in self.families.values_mut() {
                family.add_to_base(forgotten);
            }
        }
        Source { worker, start }
    }

    fn processes(&mut self, worker: usize) -> &mut Processes {
        self.processes.entry(worker).or_default()
    }

    /// Removes processes that have ended.
    fn remove_processes(&mut self, is_gone: impl Fn(&Source) -> bool) {
        for family in self.families.values_mut() {
            self.cost = self.cost - family.remove_processes(&is_gone);
        }
        let families = self.families.iter();
        let empty: Vec<_> = families
            .filter(|(_, family)| family.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        empty.iter().for_each(|name| self.remove(name));
    }

    fn take(
        &mut self,
        source: Source,
        metric: Metric,
        constant: &[(String, String)],
        taken: &BTreeSet<String>,
    ) {
        let Metric {
            name, help, data, ..
        } = metric;
        let Some((kind, series)) = kind_and_series(data) else {
            return;
        };
        let sound = check_name(&name);
        self.remove_outdated(&name, &kind, &series);
        if let Err(refusal) = sound.and_then(|()| self.admit(&name, &help, kind, constant, taken)) {
            return self.refuse(refusal, &name, series.len());
        }
        for (labels, value) in series {
            if let Err(refusal) = self.take_series(source, &name, labels, value, constant) {
                self.refuse(refusal, &name, 1);
            }
        }
        if self.families.get(&name).is_some_and(Family::is_empty) {
            self.remove(&name);
        }
    }

    fn take_series(
        &mut self,
        source: Source,
        name: &str,
        labels: Labels,
        value: Value,
        constant: &[(String, String)],
    ) -> Result<(), Refusal> {
        let Some(family) = self.families.get_mut(name) else {
            return Ok(());
        };
        check_labels(&labels, &family.kind, constant)?;
        let added = family.take(source, labels, value, MOST - self.cost)?;
        self.cost = self.cost + added;
        Ok(())
    }

    /// Removes an orphaned family that is now reported with another type, other buckets or other labels: a newly
    /// deployed script may have changed them.
    fn remove_outdated(&mut self, name: &str, kind: &Kind, series: &[(Labels, Value)]) {
        let (Some(family), Some((labels, _))) = (self.families.get(name), series.first()) else {
            return;
        };
        let is_the_same = family.kind == *kind && family.has_labels_of(labels);
        if family.is_orphaned() && !is_the_same && check_bounds(kind).is_ok() {
            self.remove(name);
        }
    }

    /// Creates the family, unless it exists with this kind.
    fn admit(
        &mut self,
        name: &str,
        help: &str,
        kind: Kind,
        constant: &[(String, String)],
        taken: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        if let Some(family) = self.families.get(name) {
            return match family.kind == kind {
                true => Ok(()),
                false => Err(Refusal::Kind),
            };
        }
        check_bounds(&kind)?;
        let names = sample_names(name, &kind);
        let is_taken = |name| self.names.contains(name) || taken.contains(name);
        if names.iter().any(is_taken) {
            return Err(Refusal::Name);
        }
        self.names.extend(names);
        let family = Family::new(name, help, kind, constant);
        self.cost = self.cost + family.cost();
        self.families.insert(name.to_owned(), family);
        Ok(())
    }

    fn remove(&mut self, name: &str) {
        if let Some(family) = self.families.remove(name) {
            self.cost = self.cost - family.cost();
            for name in sample_names(name, &family.kind) {
                self.names.remove(&name);
            }
        }
    }

    /// Counts a refusal. The first one for each reason is logged.
    fn refuse(&self, refusal: Refusal, name: &str, series: usize) {
        let reason = refusal.as_str();
        let refused = self.refused.with_label_values(&[reason]);
        if refused.get() == 0 {
            tracing::warn!(metric = name, reason, "a worker's metric was refused");
        }
        refused.inc_by(series as u64);
    }
}

/// Adds the suffix of counters.
fn end_as_total(metric: &mut Metric) {
    if matches!(metric.data, MetricData::Counter { .. }) && !metric.name.ends_with(TOTAL) {
        metric.name.push_str(TOTAL);
    }
}
