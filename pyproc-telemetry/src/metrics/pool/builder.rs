//! The settings of a pool's metrics.

use crate::Exemplars;

/// Upper bounds for the duration of a call, in seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Settings of [`PoolMetrics`](crate::PoolMetrics).
#[derive(Debug, Clone)]
#[must_use = "nothing counts before `register`"]
pub struct PoolMetricsBuilder {
    pub(super) buckets: Vec<f64>,
    pub(super) functions: Vec<String>,
    pub(super) exemplars: Exemplars,
    pub(super) labels: Vec<(String, String)>,
}

impl Default for PoolMetricsBuilder {
    fn default() -> Self {
        Self {
            buckets: BUCKETS.into(),
            functions: Vec::new(),
            exemplars: Exemplars::default(),
            labels: Vec::new(),
        }
    }
}

impl PoolMetricsBuilder {
    /// Upper bounds for the duration of calls, in seconds: at least one, increasing and finite. Default 0.001, 0.005,
    /// 0.01, 0.05, 0.1, 0.5, 1 and 5.
    pub fn buckets(mut self, buckets: impl Into<Vec<f64>>) -> Self {
        self.buckets = buckets.into();
        self
    }

    /// Functions that have series of their own from the start, also if no worker lists them. Default: none.
    pub fn functions<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.functions = names.into_iter().map(Into::into).collect();
        self
    }

    /// Notes exemplars of durations there. Default: nowhere.
    pub fn exemplars(mut self, exemplars: &Exemplars) -> Self {
        self.exemplars = exemplars.clone();
        self
    }

    /// Adds a label to each metric, such as the pool's name, so that several pools can share a registry. Default: none.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    pub(super) fn opts(&self, name: &str, help: &str) -> prometheus::Opts {
        prometheus::Opts::new(name, help).const_labels(self.labels.iter().cloned().collect())
    }
}
