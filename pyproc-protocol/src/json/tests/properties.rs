//! Any values and any bytes.

use std::collections::HashMap;

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::Index,
};
use serde_json::Value;

use super::{
    assert_read, assert_same,
    types::{Kind, Untagged},
};
use crate::json::read;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Of others, `serde_json` gets the last digit wrong.
        (-(1_i64 << 40)..1 << 40).prop_map(|number| Value::from(number as f64 / 8.0)),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map("[ -~\n]{0,20}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_document_is_read_as_serde_json_reads_it(value in value()) {
        assert_read::<Value>(&value.to_string());
        assert_read::<Value>(&serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn every_float_that_is_written_is_read_again(value in any::<f64>().prop_filter("finite", |it| it.is_finite())) {
        let read: f64 = read(&value.to_string()).unwrap();
        prop_assert_eq!(read.to_bits(), value.to_bits());
    }

    #[test]
    fn a_damaged_document_means_what_it_means_to_serde_json(
        value in value(),
        damages in vec((any::<Index>(), prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[],:0-.eunt ".to_vec())]), 1..4),
    ) {
        let mut json = value.to_string().into_bytes();
        for (place, byte) in damages {
            let place = place.index(json.len());
            json[place] = byte;
        }
        // Of floats, `serde_json` may get the last digit wrong.
        let is_exact = !json.contains(&b'.') && !json.contains(&b'e') && !json.contains(&b'E');
        if is_exact {
            assert_same::<Value>(&json);
        }
        assert_same::<serde::de::IgnoredAny>(&json);
        assert_same::<HashMap<String, Kind>>(&json);
        assert_same::<Vec<Untagged>>(&json);
    }
}
