//! Any bytes mean what they mean to `serde_json`, and what was read is written as `serde_json` writes it.
#![no_main]

use std::{collections::BTreeMap, fmt::Debug};

use libfuzzer_sys::fuzz_target;
use pyproc_protocol::{decode_json, encode_json};
use serde::de::DeserializeOwned;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    assert_same::<BTreeMap<i64, Option<(u8, String)>>>(bytes);
    let Some(value) = assert_same::<Value>(bytes) else {
        return;
    };
    let mut out = Vec::new();
    encode_json(&value, usize::MAX, &mut out).expect("it was read");
    assert_eq!(out, serde_json::to_vec(&value).expect("it was read"));
});

fn assert_same<T: DeserializeOwned + Debug>(bytes: &[u8]) -> Option<T> {
    let ours = decode_json::<T>(bytes);
    let theirs = serde_json::from_slice::<T>(bytes);
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    ours.ok()
}
