//! Metrics: those of a pool (`pool/`) and of exported spans (`span_counters.rs`), as text (`exposition/`) and over OTLP
//! (`otlp/`). All are in a registry of the `prometheus` crate. What must stay true: series, labels and bytes are
//! bounded, and no name or type of a metric ever changes.

mod exemplars;
pub(crate) mod exposition;
mod model;
#[cfg(feature = "otlp-metrics")]
mod otlp;
mod pool;
mod span_counters;

pub use exemplars::{ExemplarSlot, Exemplars};
pub use exposition::{MetricsFormat, render_metrics};
#[cfg(feature = "otlp-metrics")]
pub use otlp::{MetricsExportStats, MetricsExporter};
pub(crate) use pool::Counted;
pub use pool::{PoolMetrics, PoolMetricsBuilder, PoolWatch};
pub use span_counters::register_pipeline;
