//! The families of metrics that all functions share.

use prometheus::{Error, HistogramOpts, IntCounterVec, core::Collector};

use super::{
    function::{Function, Tally},
    times::{FUNCTION, TimesFamily},
};
use crate::{Exemplars, metrics::pool::builder::PoolMetricsBuilder};

/// Upper bounds for the parts of a call, which may be far shorter than the whole.
const PARTS: [f64; 7] = [0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];

const DURATION: &str = "pyproc_request_duration_seconds";

pub(super) struct Families {
    requests: IntCounterVec,
    errors: IntCounterVec,
    duration: TimesFamily,
    queue: TimesFamily,
    transport: TimesFamily,
    execution: TimesFamily,
    sent: IntCounterVec,
    received: IntCounterVec,
    exemplars: Exemplars,
    buckets: Vec<f64>,
    labels: Vec<(String, String)>,
}

impl Families {
    pub(super) fn new(settings: &PoolMetricsBuilder) -> Result<Self, Error> {
        let counter =
            |name, help, labels: &[&str]| IntCounterVec::new(settings.opts(name, help), labels);
        let histogram = |name, help, buckets: &[f64]| {
            let opts = HistogramOpts::from(settings.opts(name, help));
            TimesFamily::new(opts.buckets(buckets.into()))
        };
        Ok(Self {
            requests: counter(
                "pyproc_requests_total",
                "Calls that ended, by how.",
                &[FUNCTION, "status"],
            )?,
            errors: counter(
                "pyproc_request_errors_total",
                "Calls that failed, by kind of failure.",
                &[FUNCTION, "kind"],
            )?,
            duration: histogram(
                DURATION,
                "How long calls took until their answers arrived, or ended without one.",
                &settings.buckets,
            )?,
            queue: histogram(
                "pyproc_request_queue_seconds",
                "How long calls that were answered waited in the pool.",
                &PARTS,
            )?,
            transport: histogram(
                "pyproc_request_transport_seconds",
                "How long calls were on their way and waited in the worker.",
                &PARTS,
            )?,
            execution: histogram(
                "pyproc_request_execution_seconds",
                "How long functions ran.",
                &PARTS,
            )?,
            sent: counter(
                "pyproc_request_bytes_total",
                "Bytes of the inputs of calls that ended.",
                &[FUNCTION],
            )?,
            received: counter(
                "pyproc_response_bytes_total",
                "Bytes of results.",
                &[FUNCTION],
            )?,
            exemplars: settings.exemplars.clone(),
            buckets: settings.buckets.clone(),
            labels: settings.labels.clone(),
        })
    }

    pub(super) fn counters(&self) -> [&dyn Collector; 4] {
        [&self.requests, &self.errors, &self.sent, &self.received]
    }

    pub(super) fn times(&self) -> [&TimesFamily; 4] {
        [
            &self.duration,
            &self.queue,
            &self.transport,
            &self.execution,
        ]
    }

    pub(super) fn function(&self, name: &str, registry: u64) -> Function {
        let requests = |status| self.requests.with_label_values(&[name, status]).local();
        let counter = |family: &IntCounterVec| family.with_label_values(&[name]).local();
        let labels = self.labels.iter();
        let mut labels: Vec<_> = labels.map(|(name, value)| (&**name, &**value)).collect();
        labels.push((FUNCTION, name));
        let tally = Tally {
            succeeded: requests("success"),
            failed: requests("error"),
            duration: self.duration.times(),
            queue: self.queue.times(),
            transport: self.transport.times(),
            execution: self.execution.times(),
            sent: counter(&self.sent),
            received: counter(&self.received),
        };
        Function {
            name: name.into(),
            registry,
            tally: tally.into(),
            exemplars: self.exemplars.histogram(DURATION, &labels, &self.buckets),
            errors: self.errors.clone(),
        }
    }
}
