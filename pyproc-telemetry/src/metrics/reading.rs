//! Reading the metrics of the `prometheus` crate.

use prometheus::proto::{Counter, Gauge};

/// Reads a value in both data models of the `prometheus` crate, whose feature `protobuf` anybody may have turned on.
///
/// One model has an inherent `get_value`, the other an inherent `value`. What is inherent goes before a
/// trait, so `value` means this trait's in the first model, and its body the inherent `get_value`; in
/// the second nothing here is called.
#[allow(dead_code, reason = "in each model the inherent one goes before it")]
pub(super) trait Reading {
    fn value(&self) -> f64;

    fn get_value(&self) -> f64 {
        f64::NAN
    }
}

impl Reading for Counter {
    fn value(&self) -> f64 {
        self.get_value()
    }
}

impl Reading for Gauge {
    fn value(&self) -> f64 {
        self.get_value()
    }
}
