//! A type of each kind.
#![allow(dead_code, reason = "fields are compared by their `Debug`")]

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
};
use serde_json::Value;

use super::assert_same;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum Kind {
    Unit,
    #[serde(rename = "new \"type\"")]
    Newtype(u8),
    Tuple(i8, String),
    Struct {
        field: Option<u16>,
    },
}

#[derive(Debug, Deserialize)]
pub(super) struct Nothing;

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wrapped(i64);

#[derive(Debug, Deserialize)]
pub(super) struct Pair(u32, char);

#[derive(Debug, Deserialize)]
pub(super) struct Plain {
    id: u8,
}

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    id: u64,
    name: String,
    #[serde(default)]
    kinds: Vec<Kind>,
    nothing: Nothing,
    wrapped: Wrapped,
    pair: Pair,
    score: f32,
    unit: (),
    ignored: serde::de::IgnoredAny,
}

#[derive(Debug, Deserialize)]
pub(super) struct Flat {
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Untagged {
    Number(i32),
    Text(String),
    Row { id: u64 },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind")]
pub(super) enum Tagged {
    A { value: f64 },
    B,
}

/// Takes any value, whatever it is asked as, and tells how it was visited.
pub(super) struct Told;

/// Each asks for one kind of value, and takes any.
macro_rules! ask {
    ($($name:ident: $method:ident($($argument:expr),*);)*) => {
        $(
            #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub(super) struct $name(pub(super) String);

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.$method($($argument,)* Told).map(Self)
                }
            }
        )*

        pub(super) fn assert_visited_alike(json: &str) {
            let (array, object) = (format!("[{json}, {json}]"), format!("{{{json}: {json}}}"));
            $(
                assert_same::<$name>(json.as_bytes());
                assert_same::<BTreeMap<$name, Any>>(object.as_bytes());
                assert_same::<BTreeMap<Lenient<$name>, Any>>(object.as_bytes());
                assert_same::<Lenient<$name>>(json.as_bytes());
                assert_same::<Vec<Lenient<$name>>>(array.as_bytes());
            )*
        }
    };
}

ask! {
    Any: deserialize_any();
    Bool: deserialize_bool();
    I8: deserialize_i8();
    I16: deserialize_i16();
    I32: deserialize_i32();
    I64: deserialize_i64();
    I128: deserialize_i128();
    U8: deserialize_u8();
    U16: deserialize_u16();
    U32: deserialize_u32();
    U64: deserialize_u64();
    U128: deserialize_u128();
    F32: deserialize_f32();
    F64: deserialize_f64();
    Char: deserialize_char();
    Str: deserialize_str();
    Text: deserialize_string();
    Bytes: deserialize_bytes();
    ByteBuf: deserialize_byte_buf();
    Optional: deserialize_option();
    Unit: deserialize_unit();
    UnitStruct: deserialize_unit_struct("Unit");
    Newtype: deserialize_newtype_struct("Newtype");
    Seq: deserialize_seq();
    Tuple: deserialize_tuple(2);
    TupleStruct: deserialize_tuple_struct("Tuple", 2);
    Map: deserialize_map();
    Struct: deserialize_struct("Struct", &["a"]);
    Enum: deserialize_enum("Enum", &["a"]);
    Identifier: deserialize_identifier();
    Ignored: deserialize_ignored_any();
}

macro_rules! tell {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E>(self, value: $type) -> Result<String, E> {
            Ok(format!("{} {value:?}", stringify!($method)))
        }
    )*};
}

impl<'de> Visitor<'de> for Told {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    tell! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128) visit_f32(f32) visit_f64(f64)
        visit_char(char) visit_str(&str) visit_bytes(&[u8])
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("visit_unit".into())
    }

    fn visit_none<E>(self) -> Result<String, E> {
        Ok("visit_none".into())
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<String, D::Error> {
        Ok(format!("visit_some {:?}", Any::deserialize(inner)?))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<String, D::Error> {
        Ok(format!(
            "visit_newtype_struct {:?}",
            Any::deserialize(inner)?
        ))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<String, A::Error> {
        let mut told = "visit_seq".to_owned();
        while let Some(Any(element)) = seq.next_element()? {
            told = format!("{told} ({element})");
        }
        Ok(told)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut told = "visit_map".to_owned();
        while let Some((Any(key), Any(value))) = map.next_entry()? {
            told = format!("{told} ({key}: {value})");
        }
        Ok(told)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<String, A::Error> {
        let (Any(variant), value) = access.variant()?;
        if variant == r#"visit_str "Unit""# {
            value.unit_variant()?;
            return Ok(format!("visit_enum {variant}"));
        }
        let Any(value) = value.newtype_variant()?;
        Ok(format!("visit_enum {variant} ({value})"))
    }
}

/// What cannot be read is nothing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lenient<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::deserialize(deserializer).ok()))
    }
}

/// The elements of an array that can be read.
#[derive(Debug)]
pub(super) struct Readable<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Readable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut readable = Vec::new();
                loop {
                    match seq.next_element() {
                        Ok(Some(element)) => readable.push(element),
                        Ok(None) => return Ok(readable),
                        Err(_) => {}
                    }
                }
            }
        }

        deserializer
            .deserialize_seq(Elements(PhantomData))
            .map(Self)
    }
}

pub(super) const ROW: &str = r#"{"id": 18446744073709551615, "name": "a\u00e9\ud83d\ude00\n", "ignored": [1, {"a": null}],
    "kinds": ["Unit", {"new \"type\"": 255}, {"Tuple": [-128, ""]}, {"Struct": {"field": null}}, {"Unit": null}],
    "nothing": null, "wrapped": -9223372036854775808, "pair": [4294967295, "\u00df"], "score": 1, "unit": null}"#;
