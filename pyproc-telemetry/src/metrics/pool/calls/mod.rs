//! The metrics of calls, by function.
//!
//! A call takes a [`Counted`] at its start and counts at its end. What must stay true: a call neither registers nor looks
//! up a metric unless its function is new, and names from outside never make new series (see `functions.rs`).

use std::sync::Arc;

use prometheus::{
    Error,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use self::{functions::Functions, times::TimesFamily};
use super::builder::PoolMetricsBuilder;

mod counted;
mod families;
mod function;
mod functions;
mod times;

pub(crate) use counted::Counted;

pub(super) struct Calls(Arc<Functions>);

impl Calls {
    pub(super) fn new(settings: &PoolMetricsBuilder) -> Result<Self, Error> {
        Ok(Self(Arc::new(Functions::new(settings)?)))
    }

    /// A call of this function starts.
    pub(super) fn begin(&self, name: &str) -> Box<Counted> {
        Counted::new(&self.0, name)
    }

    pub(super) fn desc(&self) -> Vec<&Desc> {
        let families = &self.0.families;
        let counters = families.counters().into_iter();
        let times = families.times().map(TimesFamily::desc);
        counters.flat_map(Collector::desc).chain(times).collect()
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let families = &self.0.families;
        let mut metrics = [const { Vec::new() }; 4];
        for function in self.0.all() {
            let mut tally = function.tally();
            tally.flush();
            let times = families.times().into_iter().zip(tally.times());
            for (metrics, (family, times)) in metrics.iter_mut().zip(times) {
                metrics.push(family.metric(&function.name, times));
            }
        }
        let counters = families.counters();
        let counters = counters.into_iter().flat_map(Collector::collect);
        let times = families.times().into_iter().zip(metrics);
        let times = times.map(|(family, metrics)| family.collect(metrics));
        counters.chain(times).collect()
    }
}
