//! The result of one step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    latencies::Latencies,
    plan::{Placement, Runtime, Session, Step, Work},
    process::Sample,
};

/// One measurement, or the median of several. `results.json` is an array of these.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// The name of the peer.
    pub peer: String,
    /// The work of a call.
    pub work: Work,
    /// The callers' runtime.
    pub runtime: Runtime,
    /// The placement of the processes on cores.
    pub placement: Placement,
    /// Name of the step: `closed-loop`, `fixed-rate`, `idle` or `held`.
    pub mode: String,
    /// Worker processes.
    pub workers: usize,
    /// Callers of a closed loop, or calls held; 0 at a fixed rate.
    pub in_flight: usize,
    /// Calls a second that were due; 0 in a closed loop.
    pub rate_per_s: u32,
    /// The median latency in µs.
    pub p50_us: f64,
    /// The 99th percentile in µs.
    pub p99_us: f64,
    /// The 99.9th percentile in µs.
    pub p999_us: f64,
    /// Calls a second.
    pub calls_per_s: f64,
    /// Processor time of the client for each call in µs; when idle, for each second.
    pub cpu_us_client: f64,
    /// Processor time of all workers together, in the same unit.
    pub cpu_us_worker: f64,
    /// Resident memory of the client, without pages of files.
    pub heap_client_kib: u64,
    /// Resident memory of the client, with pages of files.
    pub rss_client_kib: u64,
    /// Resident memory of all workers together, with pages of files.
    pub rss_worker_kib: u64,
    /// Time from the start of the first worker's process until all have answered a call, in ms; 0 without workers.
    pub spawn_ms: f64,
    /// Calls measured, in all repeats together.
    pub calls: usize,
    /// Number of measurements that this is the median of.
    pub repeats: usize,
}

impl Row {
    /// A row for a step, before anything was measured.
    pub fn new(session: &Session, step: Step) -> Self {
        let (mode, in_flight, rate_per_s) = match step {
            Step::ClosedLoop { in_flight, .. } => ("closed-loop", in_flight, 0),
            Step::FixedRate { per_second, .. } => ("fixed-rate", 0, per_second),
            Step::Idle { .. } => ("idle", 0, 0),
            Step::Held { calls } => ("held", calls, 0),
        };
        Self {
            peer: session.peer.clone(),
            work: session.work,
            runtime: session.runtime,
            placement: session.placement,
            mode: mode.into(),
            workers: session.workers,
            in_flight,
            rate_per_s,
            p50_us: 0.0,
            p99_us: 0.0,
            p999_us: 0.0,
            calls_per_s: 0.0,
            cpu_us_client: 0.0,
            cpu_us_worker: 0.0,
            heap_client_kib: 0,
            rss_client_kib: 0,
            rss_worker_kib: 0,
            spawn_ms: 0.0,
            calls: 0,
            repeats: 1,
        }
    }

    /// Sets the latencies and the throughput.
    pub fn set_latencies(&mut self, latencies: &Latencies, elapsed: Duration) {
        self.calls = latencies.calls();
        self.calls_per_s = self.calls as f64 / elapsed.as_secs_f64();
        [self.p50_us, self.p99_us, self.p999_us] = latencies.quantiles_us([0.5, 0.99, 0.999]);
    }

    /// Sets the processor time between two samples, for each of `units` calls or seconds, and the memory.
    pub fn set_usage(&mut self, before: &Sample, after: &Sample, units: f64) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / units.max(1.0);
        self.cpu_us_client = each(after.client_cpu.saturating_sub(before.client_cpu));
        self.cpu_us_worker = each(after.worker_cpu.saturating_sub(before.worker_cpu));
        self.heap_client_kib = after.client_memory.heap_kib;
        self.rss_client_kib = after.client_memory.rss_kib;
        self.rss_worker_kib = after.worker_rss_kib;
    }
}
