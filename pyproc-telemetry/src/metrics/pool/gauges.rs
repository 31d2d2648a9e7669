//! Gauges that are read from a pool at each scrape.

use std::sync::{Mutex, PoisonError};

use prometheus::{
    CounterVec, Error, IntGauge, IntGaugeVec,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use pyproc_pool::{Pool, WorkerHealth, WorkerState};

use super::builder::PoolMetricsBuilder;

pub(super) struct PoolGauges {
    in_flight: IntGaugeVec,
    workers: IntGaugeVec,
    queue_length: IntGauge,
    capacity: IntGauge,
    calls_capacity: IntGauge,
    connections: IntGauge,
    memory: IntGaugeVec,
    cpu: CounterVec,
    /// Two scrapes at a time would overwrite each other's values.
    scrape: Mutex<()>,
}

impl PoolGauges {
    pub(super) fn new(settings: &PoolMetricsBuilder) -> Result<Self, Error> {
        let of_workers = |name, help, label| IntGaugeVec::new(settings.opts(name, help), &[label]);
        let of_pool = |name, help| IntGauge::with_opts(settings.opts(name, help));
        Ok(Self {
            in_flight: of_workers(
                "pyproc_requests_in_flight",
                "Calls that a worker has.",
                "worker_id",
            )?,
            workers: of_workers(
                "pyproc_workers_total",
                "Restarts, by what they are doing.",
                "status",
            )?,
            queue_length: of_pool("pyproc_pool_queue_length", "Calls that wait for a worker.")?,
            capacity: of_pool("pyproc_pool_capacity", "Restarts that the pool may have.")?,
            calls_capacity: of_pool(
                "pyproc_pool_calls_capacity",
                "Calls that workers may have at a time.",
            )?,
            connections: of_pool(
                "pyproc_pool_connections",
                "Connections to workers that are open and take calls.",
            )?,
            memory: of_workers(
                "pyproc_worker_resident_memory_bytes",
                "Memory that a worker's process has resident.",
                "worker_id",
            )?,
            cpu: CounterVec::new(
                settings.opts(
                    "pyproc_worker_cpu_seconds_total",
                    "Processor time of a worker's process, which begins anew with each process.",
                ),
                &["worker_id"],
            )?,
            scrape: Mutex::default(),
        })
    }

    pub(super) fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    pub(super) fn collect(&self, pool: &Pool) -> Vec<MetricFamily> {
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(pool);
        self.all()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }

    fn read(&self, pool: &Pool) {
        let (stats, health) = (pool.stats(), pool.health());
        self.queue_length.set(gauge(stats.queued));
        self.calls_capacity.set(gauge(stats.capacity));
        self.capacity.set(gauge(health.workers.len()));
        for (status, states) in [
            ("active", &[WorkerState::Ready][..]),
            (
                "restarting",
                &[WorkerState::Starting, WorkerState::Restarting],
            ),
            ("crashed", &[WorkerState::Stopped]),
        ] {
            let workers = health.workers.iter();
            let count = workers.filter(|it| states.contains(&it.state)).count();
            self.workers.with_label_values(&[status]).set(gauge(count));
        }
        // Each of these has one.
        let ready = |it: &&WorkerHealth| it.state == WorkerState::Ready;
        let connections = health.workers.iter().filter(ready).count();
        self.connections.set(gauge(connections));
        // Another pool may have had more workers, and a stopped worker has no process.
        self.in_flight.reset();
        self.memory.reset();
        self.cpu.reset();
        health
            .workers
            .iter()
            .for_each(|worker| self.read_worker(worker));
    }

    fn read_worker(&self, worker: &WorkerHealth) {
        let id = worker.worker.to_string();
        let in_flight = self.in_flight.with_label_values(&[&id]);
        in_flight.set(gauge(worker.in_flight));
        #[cfg(target_os = "linux")]
        if let Some(usage) = worker.pid.and_then(super::process::Usage::of) {
            let memory = i64::try_from(usage.resident_bytes).unwrap_or(i64::MAX);
            self.memory.with_label_values(&[&id]).set(memory);
            self.cpu.with_label_values(&[&id]).inc_by(usage.cpu_seconds);
        }
    }

    fn all(&self) -> [&dyn Collector; 8] {
        [
            &self.in_flight,
            &self.workers,
            &self.queue_length,
            &self.capacity,
            &self.calls_capacity,
            &self.connections,
            &self.memory,
            &self.cpu,
        ]
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
