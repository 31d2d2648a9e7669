//! Each check says what is wrong with a value; whoever calls it names the field or the variable.

use super::{Endpoint, OtlpProtocol};

pub(super) fn not_blank(text: &str) -> Result<(), String> {
    match text.trim() {
        "" => Err("must not be empty".into()),
        _ => Ok(()),
    }
}

pub(super) fn is_share(value: &f64) -> Result<(), String> {
    // A comparison that NaN fails too.
    if (0.0..=1.0).contains(value) {
        return Ok(());
    }
    Err(format!("{value} is not a share from 0 to 1"))
}

pub(super) fn is_available(protocol: &OtlpProtocol) -> Result<(), String> {
    if *protocol == OtlpProtocol::Grpc && !cfg!(feature = "grpc") {
        return Err("grpc needs the feature `grpc` of pyproc-telemetry".into());
    }
    Ok(())
}

/// An address to which a path is appended.
pub(super) fn is_base_address(text: &Option<String>) -> Result<(), String> {
    text.iter()
        .try_for_each(|text| Endpoint::parse_base(text).map(drop))
}

/// An address that is used as it is.
pub(super) fn is_address(text: &Option<String>) -> Result<(), String> {
    text.iter()
        .try_for_each(|text| Endpoint::parse(text).map(drop))
}
