//! What calls are counted by.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use opentelemetry::trace::SpanContext;
use prometheus::{
    Error, HistogramOpts, IntCounterVec,
    core::{Collector, Desc},
    local::LocalIntCounter,
    proto::MetricFamily,
};
use pyproc_pool::observe::{CallEnd, CallOutcome};

use self::times::{Times, TimesFamily};
use super::PoolMetricsBuilder;
use crate::{ExemplarSlot, Exemplars};

mod spare;
mod times;

/// For parts of a call, which may be far shorter than the whole.
const PARTS: [f64; 7] = [0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];

/// Functions that count under their own names.
const MAX_FUNCTIONS: usize = 1024;
const UNKNOWN: &str = "unknown";
const FUNCTION: &str = "function_name";
const DURATION: &str = "pyproc_request_duration_seconds";

pub(crate) struct Calls(Arc<Shared>);

struct Shared {
    /// Tells the functions of one registry from those of another.
    id: u64,
    families: Families,
    /// Names that a worker has listed or the service has named, and no others.
    functions: RwLock<BTreeMap<Box<str>, Arc<Function>>>,
}

struct Families {
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

/// One function. A call touches half a dozen metrics: one lock around plain numbers costs less than as many
/// atomic ones. They get to the metrics at each scrape.
struct Function {
    name: Box<str>,
    /// That of its `Shared`.
    registry: u64,
    tally: Mutex<Tally>,
    exemplars: Arc<ExemplarSlot>,
    errors: IntCounterVec,
}

struct Tally {
    succeeded: LocalIntCounter,
    failed: LocalIntCounter,
    duration: Times,
    queue: Times,
    transport: Times,
    execution: Times,
    sent: LocalIntCounter,
    received: LocalIntCounter,
}

/// A call that has begun.
pub(crate) struct Counted(Begun);

enum Begun {
    Known(Arc<Function>),
    /// Whether a worker has listed it is known only at the end.
    New(Box<str>, Arc<Shared>),
}

impl Calls {
    pub(super) fn new(settings: &PoolMetricsBuilder) -> Result<Self, Error> {
        static REGISTRIES: AtomicU64 = AtomicU64::new(0);
        let shared = Shared {
            id: REGISTRIES.fetch_add(1, Ordering::Relaxed),
            families: Families::new(settings)?,
            functions: RwLock::default(),
        };
        for name in &settings.functions {
            shared.function(name);
        }
        Ok(Self(Arc::new(shared)))
    }

    pub(crate) fn begin(&self, name: &str) -> Box<Counted> {
        spare::take(self.0.id, name).unwrap_or_else(|| {
            Box::new(Counted(match self.0.known(name) {
                Some(function) => Begun::Known(function),
                None => Begun::New(name.into(), Arc::clone(&self.0)),
            }))
        })
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

impl Counted {
    /// It ended; `span` is its span, if that is exported.
    pub(crate) fn count(self: Box<Self>, end: &CallEnd<'_>, span: Option<&SpanContext>) {
        match &self.0 {
            Begun::Known(function) => {
                function.count(end, span);
                spare::give_back(self);
            }
            Begun::New(name, shared) => {
                let name = if end.listed { name } else { UNKNOWN };
                let known = shared.known(name);
                let function = known.unwrap_or_else(|| shared.function(name));
                function.count(end, span);
            }
        }
    }

    fn is_of(&self, registry: u64, name: &str) -> bool {
        match &self.0 {
            Begun::Known(function) => function.registry == registry && *function.name == *name,
            Begun::New(..) => false,
        }
    }
}

impl Shared {
    fn known(&self, name: &str) -> Option<Arc<Function>> {
        let functions = self.functions.read();
        let functions = functions.unwrap_or_else(PoisonError::into_inner);
        functions.get(name).cloned()
    }

    /// The function of this name, which may be new; when there are too many, the unknown one.
    fn function(&self, name: &str) -> Arc<Function> {
        let functions = self.functions.write();
        let mut functions = functions.unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = functions.get(name) {
            return Arc::clone(known);
        }
        let name = match functions.len() < MAX_FUNCTIONS {
            true => name,
            false => UNKNOWN,
        };
        let function = functions
            .entry(name.into())
            .or_insert_with(|| Arc::new(self.families.function(name, self.id)));
        Arc::clone(function)
    }

    fn all(&self) -> Vec<Arc<Function>> {
        let functions = self.functions.read();
        let functions = functions.unwrap_or_else(PoisonError::into_inner);
        functions.values().cloned().collect()
    }
}

impl Families {
    fn new(settings: &PoolMetricsBuilder) -> Result<Self, Error> {
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

    fn counters(&self) -> [&dyn Collector; 4] {
        [&self.requests, &self.errors, &self.sent, &self.received]
    }

    fn times(&self) -> [&TimesFamily; 4] {
        [
            &self.duration,
            &self.queue,
            &self.transport,
            &self.execution,
        ]
    }

    fn function(&self, name: &str, registry: u64) -> Function {
        let requests = |status| self.requests.with_label_values(&[name, status]).local();
        let counter = |family: &IntCounterVec| family.with_label_values(&[name]).local();
        let labels = self.labels.iter();
        let mut labels: Vec<_> = labels.map(|(name, value)| (&**name, &**value)).collect();
        labels.push((FUNCTION, name));
        Function {
            name: name.into(),
            registry,
            tally: Mutex::new(Tally {
                succeeded: requests("success"),
                failed: requests("error"),
                duration: self.duration.times(),
                queue: self.queue.times(),
                transport: self.transport.times(),
                execution: self.execution.times(),
                sent: counter(&self.sent),
                received: counter(&self.received),
            }),
            exemplars: self.exemplars.histogram(DURATION, &labels, &self.buckets),
            errors: self.errors.clone(),
        }
    }
}

impl Function {
    fn count(&self, end: &CallEnd<'_>, span: Option<&SpanContext>) {
        self.tally().count(end);
        if let Some(span) = span {
            self.exemplars.note(end.duration.as_secs_f64(), span);
        }
        let kind = match &end.outcome {
            CallOutcome::Success => return,
            CallOutcome::Error(error) => error.kind().as_str(),
            CallOutcome::Abandoned => "abandoned",
        };
        self.errors.with_label_values(&[&*self.name, kind]).inc();
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn count(&mut self, end: &CallEnd<'_>) {
        match end.outcome {
            CallOutcome::Success => self.succeeded.inc(),
            _ => self.failed.inc(),
        }
        self.duration.observe(end.duration);
        self.sent.inc_by(end.request_bytes as u64);
        self.received.inc_by(end.response_bytes as u64);
        let Some(timings) = end.timings else {
            return;
        };
        self.queue.observe(timings.queued);
        if let Some(times) = timings.times {
            // Whatever the worker says, the function ran within what was seen of the call.
            let ran = times.duration.min(timings.worker);
            self.transport.observe(timings.worker - ran);
            self.execution.observe(ran);
        }
    }

    fn times(&self) -> [&Times; 4] {
        [
            &self.duration,
            &self.queue,
            &self.transport,
            &self.execution,
        ]
    }

    fn flush(&mut self) {
        for counter in [&self.succeeded, &self.failed, &self.sent, &self.received] {
            counter.flush();
        }
    }
}
