//! Each check says what is wrong with a value; whoever calls it names the field or the variable.

use std::time::Duration;

use super::OtlpProtocol;

pub(super) fn service_name(name: &str) -> Result<(), String> {
    match name.trim() {
        "" => Err("must not be empty".into()),
        _ => Ok(()),
    }
}

pub(super) fn rate(rate: f64) -> Result<f64, String> {
    // A comparison that NaN fails too.
    if (0.0..=1.0).contains(&rate) {
        return Ok(rate);
    }
    Err(format!("{rate} is not a share from 0 to 1"))
}

pub(super) fn positive(value: usize) -> Result<usize, String> {
    match value {
        0 => Err("must be at least 1".into()),
        value => Ok(value),
    }
}

pub(super) fn longer_than_zero(value: Duration) -> Result<Duration, String> {
    if value.is_zero() {
        return Err("must be longer than zero".into());
    }
    Ok(value)
}

pub(super) fn available_protocol(protocol: OtlpProtocol) -> Result<OtlpProtocol, String> {
    if protocol == OtlpProtocol::Grpc && !cfg!(feature = "grpc") {
        return Err("grpc needs the feature `grpc` of pyproc-telemetry".into());
    }
    Ok(protocol)
}
