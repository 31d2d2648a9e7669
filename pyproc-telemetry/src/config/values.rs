//! How the values of variables are written.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use pyproc_settings::kind::longer_than_zero;
use serde::de::{DeserializeOwned, value::StrDeserializer};

use super::{
    Endpoint, Headers, OtlpProtocol, PropagatorType,
    checks::{is_available, is_share},
    headers,
};

/// A choice by its name, which is that of serde.
pub(super) fn choice<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let name = text.to_ascii_lowercase();
    let name = StrDeserializer::<serde::de::value::Error>::new(&name);
    T::deserialize(name).map_err(|error| error.to_string())
}

/// Counters are sent as totals; nothing else can be asked for.
pub(super) fn temporality(text: &str) -> Result<(), String> {
    match text.to_ascii_lowercase().as_str() {
        "cumulative" => Ok(()),
        _ => Err(format!("{text:?} is not cumulative, which is all there is")),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let value = text
        .parse()
        .map_err(|_| format!("{text:?} is not a share from 0 to 1"))?;
    is_share(&value).map(|()| value)
}

/// A duration that can be zero.
pub(super) fn millis(text: &str) -> Result<Duration, String> {
    let number = text.parse();
    number
        .map(Duration::from_millis)
        .map_err(|_| format!("{text:?} is not a whole number of milliseconds"))
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let value = millis(text)?;
    longer_than_zero(&value).map(|()| value)
}

pub(super) fn address(text: &str) -> Result<String, String> {
    Endpoint::parse(text).map(|_| text.to_owned())
}

pub(super) fn base_address(text: &str) -> Result<String, String> {
    Endpoint::parse_base(text).map(|_| text.to_owned())
}

pub(super) fn propagators(text: &str) -> Result<Vec<PropagatorType>, String> {
    let names: Vec<_> = text.split(',').map(str::trim).collect();
    match names.as_slice() {
        ["none"] => Ok(Vec::new()),
        names if names.contains(&"none") => Err("none excludes all others".into()),
        names => {
            let mut chosen = Vec::new();
            for name in names {
                let propagator = choice(name).map_err(|error| format!("{error}, or none alone"))?;
                if !chosen.contains(&propagator) {
                    chosen.push(propagator);
                }
            }
            Ok(chosen)
        }
    }
}

pub(super) fn available_protocol(text: &str) -> Result<OtlpProtocol, String> {
    let protocol = choice(text)?;
    is_available(&protocol).map(|()| protocol)
}

pub(super) fn secret_headers(text: &str) -> Result<Headers, String> {
    // The reasons of `pairs` repeat what was given.
    let headers: Headers = pairs(text)
        .map_err(|_| format!("{}, as name=value,name=value", headers::SHAPE))?
        .into_iter()
        .collect();
    headers.check()?;
    Ok(headers)
}

/// `name=value,name=value`, percent-encoded.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let decode = |part: &str| {
        percent_decode_str(part.trim())
            .decode_utf8()
            .map(String::from)
            .map_err(|_| format!("{part:?} is not percent-encoded UTF-8"))
    };
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((decode(name)?, decode(value)?)),
            _ => Err(format!("{pair:?} is not of the form name=value")),
        })
        .collect()
}
