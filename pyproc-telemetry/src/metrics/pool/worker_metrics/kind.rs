use pyproc_pool::protocol::v2::telemetry::Aggregation;

/// The type of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge(Aggregation),
    /// Upper bounds, without the infinite one.
    Histogram(Vec<f64>),
}
