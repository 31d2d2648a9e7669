use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry::trace::SpanContext;

/// Exemplars: traces that belong to single values of metrics. The `prometheus` crate cannot store them.
///
/// Code that observes a value of a trace also notes it in the [`ExemplarSlot`] of that series. OpenMetrics then shows
/// the latest exemplar of each bucket or counter.
///
/// The number of slots is fixed by the code that creates them, so exemplars are bounded.
#[derive(Debug, Clone, Default)]
pub struct Exemplars(Arc<Mutex<BTreeMap<Series, Arc<ExemplarSlot>>>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    family: String,
    /// Sorted.
    labels: Vec<(String, String)>,
}

/// The exemplars of one series. Create it once, like the metric's handle with its labels.
pub struct ExemplarSlot {
    /// Upper bounds of the buckets; none for a counter.
    bounds: Vec<f64>,
    /// One for each bucket, and one above all bounds. A counter has one.
    latest: Mutex<Vec<Option<Exemplar>>>,
}

/// A value and its trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exemplar {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) value: f64,
    pub(super) at: SystemTime,
}

impl Exemplars {
    /// The slot of a counter, by its name in the registry and its labels, in any order.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Arc<ExemplarSlot> {
        self.slot(name, labels, &[])
    }

    /// The slot of a histogram with these upper bounds, which must be those of the metric.
    pub fn histogram(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &[f64],
    ) -> Arc<ExemplarSlot> {
        self.slot(name, labels, bounds)
    }

    fn slot(&self, name: &str, labels: &[(&str, &str)], bounds: &[f64]) -> Arc<ExemplarSlot> {
        let series = Series::new(name, labels.iter().copied());
        let mut slots = self.lock();
        let slot = slots.entry(series).or_insert_with(|| {
            Arc::new(ExemplarSlot {
                bounds: bounds.to_vec(),
                latest: Mutex::new(vec![None; bounds.len() + 1]),
            })
        });
        Arc::clone(slot)
    }

    pub(super) fn find<'a>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Option<Arc<ExemplarSlot>> {
        self.lock().get(&Series::new(name, labels)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Series, Arc<ExemplarSlot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn new<'a>(family: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut labels: Vec<_> = labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        labels.sort_unstable();
        Self {
            family: family.to_owned(),
            labels,
        }
    }
}

impl ExemplarSlot {
    /// Notes that `value` was observed in this span. Spans that are invalid or not sampled are ignored. It never waits:
    /// the value is left out while another thread uses the slot.
    pub fn note(&self, value: f64, span: &SpanContext) {
        if !span.is_sampled() || !span.is_valid() || value.is_nan() {
            return;
        }
        if let Ok(mut latest) = self.latest.try_lock() {
            let bucket = self.bounds.partition_point(|bound| *bound < value);
            latest[bucket] = Some(Exemplar {
                trace: span.trace_id().to_bytes(),
                span: span.span_id().to_bytes(),
                value,
                at: SystemTime::now(),
            });
        }
    }

    /// The exemplar of the bucket with this upper bound; for a counter, that of infinity.
    pub(super) fn latest(&self, bound: f64) -> Option<Exemplar> {
        let bucket = self.bounds.partition_point(|known| *known < bound);
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.get(bucket).copied().flatten()
    }
}

/// The OpenMetrics text behind a sample.
impl fmt::Display for Exemplar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        write!(
            f,
            " # {{trace_id=\"{:032x}\",span_id=\"{:016x}\"}} {:?} {}.{:03}",
            u128::from_be_bytes(self.trace),
            u64::from_be_bytes(self.span),
            self.value,
            at.as_secs(),
            at.subsec_millis(),
        )
    }
}

impl fmt::Debug for ExemplarSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = &self.bounds;
        f.debug_struct("ExemplarSlot")
            .field("bounds", bounds)
            .finish_non_exhaustive()
    }
}
