//! How long calls take one after another.
//!
//! Pools differ by more than what is to be seen here, so one pool has an observer that is switched from one kind of telemetry to the
//! next. Its worker is asked for what any of them wants all the time.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::Context;
use pyproc_pool::{
    Pool,
    observe::{
        CallObserver, CallStart, Observer, RecordOrigin, RequestMetadata, Wants, WorkerEvent,
        WorkerRecord,
    },
};
use pyproc_telemetry::Telemetry;

use crate::{
    builder, call,
    kind::{Attached, Kind},
    median,
};

/// A pool, its kinds of telemetry by their names, and the nanoseconds of each of their turns.
pub(crate) struct Alone {
    pool: Pool,
    now: Arc<AtomicUsize>,
    kinds: Vec<(&'static str, Attached)>,
    turns: Vec<Vec<f64>>,
}

/// What was found for one kind, in nanoseconds.
pub(crate) struct Found {
    pub(crate) name: &'static str,
    pub(crate) p50: f64,
    /// Beyond the first kind of the same pool, turn by turn.
    pub(crate) above: f64,
}

impl Alone {
    pub(crate) async fn start(python: &Path, loaded: bool, kinds: &[(&'static str, Kind)]) -> Self {
        let kinds = kinds.iter().map(|(name, kind)| (*name, kind.start()));
        let kinds: Vec<_> = kinds.collect();
        let now = Arc::new(AtomicUsize::new(0));
        let switch = Switch {
            kinds: kinds.iter().map(|(_, it)| it.telemetry.clone()).collect(),
            now: Arc::clone(&now),
        };
        let pool = builder(python, loaded).observer(Arc::new(switch));
        Self {
            pool: pool.start().await.expect("a pool"),
            now,
            turns: vec![Vec::new(); kinds.len()],
            kinds,
        }
    }

    pub(crate) fn worker(&self) -> u32 {
        self.pool.health().workers[0].pid.expect("a process")
    }

    /// A turn of each kind, to and fro, so that none always follows the same one.
    pub(crate) async fn round(&mut self, number: usize) {
        let _root = Context::new().attach();
        let kinds = self.kinds.len();
        for turn in 0..kinds {
            let kind = if number.is_multiple_of(2) {
                turn
            } else {
                kinds - 1 - turn
            };
            self.now.store(kind, Ordering::Relaxed);
            // After the pause before, processors are not what they are later.
            one_after_another(&self.pool, Duration::from_millis(10)).await;
            let took = one_after_another(&self.pool, Duration::from_millis(60)).await;
            self.turns[kind].push(took);
            self.kinds[kind].1.flush().await;
        }
    }

    /// The first round fills caches.
    pub(crate) fn forget(&mut self) {
        self.turns.iter_mut().for_each(Vec::clear);
    }

    pub(crate) async fn end(self) {
        self.pool.shutdown(Duration::ZERO).await;
    }
}

/// Medians over several pools, which had the same kinds.
pub(crate) fn found(pools: &[Alone]) -> Vec<Found> {
    let kind = |index: usize| {
        let turns = pools.iter().flat_map(|it| it.turns[index].clone());
        let above = |pool: &Alone| {
            let both = pool.turns[index].iter().zip(&pool.turns[0]);
            both.map(|(this, first)| this - first).collect::<Vec<_>>()
        };
        Found {
            name: pools[0].kinds[index].0,
            p50: median(turns.collect()),
            above: median(pools.iter().flat_map(above).collect()),
        }
    };
    (0..pools[0].kinds.len()).map(kind).collect()
}

async fn one_after_another(pool: &Pool, time: Duration) -> f64 {
    let end = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < end {
        let begin = Instant::now();
        call(pool).await;
        took.push(begin.elapsed().as_nanos() as f64);
    }
    median(took)
}

#[derive(Debug)]
struct Switch {
    kinds: Vec<Option<Telemetry>>,
    now: Arc<AtomicUsize>,
}

impl Switch {
    fn now(&self) -> Option<&Telemetry> {
        self.kinds[self.now.load(Ordering::Relaxed)].as_ref()
    }

    fn each(&self) -> impl Iterator<Item = &Telemetry> {
        self.kinds.iter().flatten()
    }
}

impl Observer for Switch {
    fn begin(
        &self,
        call: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        self.now()?.begin(call, metadata)
    }

    fn prepare_next(&self) {
        if let Some(telemetry) = self.now() {
            telemetry.prepare_next();
        }
    }

    fn worker(&self, event: &WorkerEvent<'_>) {
        self.each().for_each(|it| it.worker(event));
    }

    fn wants(&self) -> Wants {
        let wants: Vec<_> = self.each().map(Observer::wants).collect();
        Wants {
            spans: wants.iter().any(|it| it.spans),
            metrics: wants.iter().any(|it| it.metrics),
        }
    }

    fn record(&self, from: RecordOrigin, record: WorkerRecord) {
        if let Some(telemetry) = self.now() {
            telemetry.record(from, record);
        }
    }
}
