//! Inputs are written as `serde_json` writes them, whatever their type.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, fmt::Debug};

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
};
use pyproc_protocol::{EncodeError, encode_json};
use serde::{Serialize, Serializer, ser};
use serde_json::{Value, value::RawValue};

/// What was there stays, and what is appended is what `serde_json` writes.
fn assert_same<T: Serialize + Debug + ?Sized>(value: &T) {
    let expected = serde_json::to_vec(value).unwrap();
    let mut out = b"before".to_vec();
    encode_json(value, expected.len(), &mut out).unwrap();
    let (before, json) = out.split_at(6);
    assert_eq!(before, b"before");
    assert_eq!(json, expected, "{value:?}");
    if let Some(less) = expected.len().checked_sub(1) {
        let error = encode_json(value, less, &mut out).unwrap_err();
        assert!(matches!(error, EncodeError::TooLarge { max } if max == less));
        assert_eq!(out.len(), 6 + expected.len());
    }
}

#[derive(Debug, Serialize)]
enum Kind {
    Unit,
    #[serde(rename = "new \"type\"")]
    Newtype(u8),
    Tuple(i8, String),
    Empty(),
    Struct {
        field: Option<f32>,
    },
}

#[derive(Debug, Serialize)]
struct Nothing;

#[derive(Debug, Serialize)]
struct Wrapped(i128);

#[derive(Debug, Serialize)]
struct Pair(u128, char);

#[derive(Debug, Serialize)]
struct NoFields {}

#[derive(Debug, Serialize)]
struct Flat {
    #[serde(flatten)]
    rest: BTreeMap<String, Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u8>,
    a_long_name_of_a_field: (),
}

#[derive(Debug)]
struct Bytes(&'static [u8]);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[derive(Debug)]
struct Displayed(&'static str);

impl Serialize for Displayed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind::Unit,
        Kind::Newtype(255),
        Kind::Tuple(-128, "\u{1f600}\u{7f}".into()),
        Kind::Empty(),
        Kind::Struct { field: Some(0.1) },
        Kind::Struct { field: None },
    ]
}

#[test]
fn every_kind_of_type_has_its_form() {
    assert_same(&kinds());
    assert_same(&(
        Nothing,
        Wrapped(i128::MIN),
        Pair(u128::MAX, '"'),
        NoFields {},
    ));
    assert_same(&(Bytes(b""), Bytes(b"\0\xff"), Displayed("a\nb")));
    assert_same(&(i16::MIN, i32::MIN, u16::MAX, u32::MAX, u64::MAX, [(); 0]));
    assert_same(&(
        f32::NAN,
        f64::INFINITY,
        -0.0,
        0.0,
        f32::MAX,
        f64::MIN_POSITIVE,
    ));
    let rest = kinds().into_iter().enumerate();
    let rest = rest.map(|(number, kind)| (format!("key {number}"), kind));
    assert_same(&Flat {
        rest: rest.collect(),
        left_out: None,
        a_long_name_of_a_field: (),
    });
}

#[test]
fn keys_are_texts_whatever_their_type() {
    assert_same(&BTreeMap::from([(-1, "a"), (20, "b")]));
    assert_same(&BTreeMap::from([(u128::MAX, ())]));
    assert_same(&BTreeMap::from([(false, 1), (true, 2)]));
    assert_same(&BTreeMap::from([('\\', 1), ('b', 2)]));
    assert_same(&BTreeMap::from([(Some("key"), 1)]));
    assert_same(&BTreeMap::from([(Some(1), BTreeMap::from([(2, 3)]))]));
}

#[test]
fn what_has_no_form_is_the_error_that_serde_json_gives() {
    #[derive(Debug)]
    struct Failing;
    impl Serialize for Failing {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("it fails"))
        }
    }
    let of = |value: &dyn erased::Json| {
        let mut out = vec![7];
        let error = value.encode(&mut out).unwrap_err();
        assert_eq!(out, [7]);
        match error {
            EncodeError::Json(cause) => cause.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(&(1, Failing)), "it fails");
    assert_eq!(of(&BTreeMap::from([((1, 2), 3)])), "key must be a string");
    assert_eq!(
        of(&BTreeMap::from([(None::<u8>, 3)])),
        "key must be a string"
    );
}

/// Values of several types in one test.
mod erased {
    use super::*;

    pub(super) trait Json {
        fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    }

    impl<T: Serialize> Json for T {
        fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
            encode_json(self, 1000, out)
        }
    }
}

#[test]
fn json_that_is_there_already_is_written_as_it_is() {
    let raw: Box<RawValue> = serde_json::from_str(r#"{"a" : [1.50, "\u0041"]}"#).unwrap();
    assert_same(&raw);
    assert_same(&BTreeMap::from([("raw", (1, &raw))]));
}

#[test]
fn each_character_has_its_form_at_each_place_of_a_short_and_of_a_long_text() {
    for character in (0..0x100).filter_map(char::from_u32) {
        for len in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 40] {
            for place in 0..=len {
                let mut text = "x".repeat(len);
                text.insert(place, character);
                assert_same(&text);
            }
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        float().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map("[ -~\n]{0,9}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// All kinds, and those that are short as decimals.
fn float() -> impl Strategy<Value = f64> {
    let decimal = (any::<i64>(), 0..64_u32, 0..6)
        .prop_map(|(number, shift, decimals)| (number >> shift) as f64 / 10_f64.powi(decimals));
    let neighbour = (decimal.clone(), any::<bool>()).prop_map(|(it, above)| match above {
        true => it.next_up(),
        false => it.next_down(),
    });
    prop_oneof![decimal, neighbour, any::<f64>()]
}

proptest! {
    #[test]
    fn every_document_is_written_as_serde_json_writes_it(value in value()) {
        assert_same(&value);
    }

    #[test]
    fn every_float_is_written_as_serde_json_writes_it(floats in vec(float(), 40)) {
        assert_same(&floats);
    }
}
