//! Values are decoded as `serde_json` decodes them, whatever their type.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod numbers;
mod properties;
mod strings;
mod types;
mod values;

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::{decode_json, read};

/// It is decoded here, and with the same value as by `serde_json`.
fn assert_read<T: DeserializeOwned + Debug>(json: &str) {
    let expected: T = serde_json::from_str(json).unwrap();
    let value: Option<T> = read(json);
    assert!(value.is_some(), "left to serde_json: {json}");
    assert_eq!(
        format!("{:?}", value.unwrap()),
        format!("{expected:?}"),
        "{json}"
    );
}

/// The value is the one that `serde_json` decodes, and an error is the one of `serde_json`.
fn assert_same<T: DeserializeOwned + Debug>(json: &[u8]) {
    let outcome = |result: serde_json::Result<T>| match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {error}"),
    };
    let ours = outcome(decode_json(json));
    assert_eq!(ours, outcome(serde_json::from_slice(json)), "{json:?}");
}
