//! Counters of workers' restarts and failed starts.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use prometheus::{
    Error, IntCounterVec,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use pyproc_pool::observe::WorkerEvent;

use super::builder::PoolMetricsBuilder;

const CRASH: &str = "crash";
const HEALTH_CHECK: &str = "health_check";
const PROTOCOL: &str = "protocol";
const DRAIN: &str = "drain";
const RELOAD: &str = "reload";

pub(super) struct Restarts {
    restarts: IntCounterVec,
    start_failures: IntCounterVec,
    /// Why the last worker of a slot ended, until the slot has a new worker.
    cause: Mutex<BTreeMap<usize, &'static str>>,
}

impl Restarts {
    pub(super) fn new(settings: &PoolMetricsBuilder) -> Result<Self, Error> {
        Ok(Self {
            restarts: IntCounterVec::new(
                settings.opts(
                    "pyproc_worker_restarts_total",
                    "Restarts that took the place of another, by what cause that.",
                ),
                &["worker_id", "reason"],
            )?,
            start_failures: IntCounterVec::new(
                settings.opts(
                    "pyproc_worker_start_failures_total",
                    "Starts of workers that failed.",
                ),
                &["worker_id"],
            )?,
            cause: Mutex::default(),
        })
    }

    pub(super) fn note(&self, event: &WorkerEvent<'_>) {
        let mut cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            WorkerEvent::Ready {
                worker, restarted, ..
            } => {
                let reason = cause.remove(worker);
                let worker = worker.to_string();
                self.register_worker(&worker);
                if *restarted {
                    let reason = reason.unwrap_or(CRASH);
                    self.restarts.with_label_values(&[&*worker, reason]).inc();
                }
            }
            WorkerEvent::Died { worker, .. } => {
                let reason = if event.death().is_some() {
                    CRASH
                } else {
                    PROTOCOL
                };
                cause.insert(*worker, reason);
            }
            WorkerEvent::Drained { worker } => {
                cause.insert(*worker, DRAIN);
            }
            WorkerEvent::Reloaded { worker, .. } => {
                let worker = worker.to_string();
                self.restarts.with_label_values(&[&*worker, RELOAD]).inc();
            }
            WorkerEvent::StartFailed { worker, .. } => {
                let worker = worker.to_string();
                self.start_failures.with_label_values(&[&worker]).inc();
            }
            _ => {}
        }
    }

    /// Creates a worker's series before the first event, so that the first event is seen as a change.
    fn register_worker(&self, worker: &str) {
        for reason in [CRASH, HEALTH_CHECK] {
            self.restarts.with_label_values(&[worker, reason]);
        }
        self.start_failures.with_label_values(&[worker]);
    }

    pub(super) fn desc(&self) -> Vec<&Desc> {
        [self.restarts.desc(), self.start_failures.desc()].concat()
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        [self.restarts.collect(), self.start_failures.collect()].concat()
    }
}
