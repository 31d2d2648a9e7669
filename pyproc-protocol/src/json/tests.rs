//! Values are read as `serde_json` reads them, whatever their type.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "fields are compared by their `Debug`")]

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Debug},
    marker::PhantomData,
};

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::Index,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{decode_json, is_plain, read};

/// It is read here, and as `serde_json` reads it.
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

/// What is read is what `serde_json` reads, and what it refuses is refused with its error.
fn assert_same<T: DeserializeOwned + Debug>(json: &[u8]) {
    let told = |result: serde_json::Result<T>| match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {error}"),
    };
    let ours = told(decode_json(json));
    assert_eq!(ours, told(serde_json::from_slice(json)), "{json:?}");
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Kind {
    Unit,
    #[serde(rename = "new \"type\"")]
    Newtype(u8),
    Tuple(i8, String),
    Struct {
        field: Option<u16>,
    },
}

#[derive(Debug, Deserialize)]
struct Nothing;

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Wrapped(i64);

#[derive(Debug, Deserialize)]
struct Pair(u32, char);

#[derive(Debug, Deserialize)]
struct Plain {
    id: u8,
}

#[derive(Debug, Deserialize)]
struct Row {
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
struct Flat {
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i32),
    Text(String),
    Row { id: u64 },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    A { value: f64 },
    B,
}

/// Takes any value, whatever it is asked as, and tells how it was visited.
struct Told;

/// Each asks for one kind of value, and takes any.
macro_rules! ask {
    ($($name:ident: $method:ident($($argument:expr),*);)*) => {
        $(
            #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
            struct $name(String);

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.$method($($argument,)* Told).map(Self)
                }
            }
        )*

        fn assert_visited_alike(json: &str) {
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
struct Lenient<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::deserialize(deserializer).ok()))
    }
}

/// The elements of an array that can be read.
#[derive(Debug)]
struct Readable<T>(Vec<T>);

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

const ROW: &str = r#"{"id": 18446744073709551615, "name": "a\u00e9\ud83d\ude00\n", "ignored": [1, {"a": null}],
    "kinds": ["Unit", {"new \"type\"": 255}, {"Tuple": [-128, ""]}, {"Struct": {"field": null}}, {"Unit": null}],
    "nothing": null, "wrapped": -9223372036854775808, "pair": [4294967295, "\u00df"], "score": 1, "unit": null}"#;

#[test]
fn every_kind_of_type_is_read() {
    assert_read::<Row>(ROW);
    assert_read::<Row>(r#"[1, "", [], null, 0, [0, "x"], -0.5, null, true]"#);
    assert_read::<Flat>(r#"{"a": 1, "b": [2.5], "c": "d"}"#);
    assert_read::<Vec<Untagged>>(r#"[1, "one", {"id": 1}]"#);
    assert_read::<Vec<Tagged>>(r#"[{"kind": "A", "value": 1}, {"kind": "B"}]"#);
    assert_read::<(bool, bool, Option<bool>)>("[true,false,null]");
    assert_read::<(i8, i16, i32, i128, u8, u16, u128)>("[-1, -2, -3, -4, 5, 6, 7]");
    assert_read::<serde_json::Number>("-0");
    assert_read::<Vec<u8>>("[0, 255]");
}

/// Whatever it asks for, and also if it passes over what cannot be read.
#[test]
fn every_type_is_visited_as_serde_json_visits_it() {
    for json in [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "7",
        "-7",
        "1.5",
        "1e2",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "340282366920938463463374607431768211456",
        "01",
        "1e999",
        "-",
        "\"\"",
        r#""a""#,
        r#""\u00e9""#,
        r#""\ud800""#,
        r#""Unit""#,
        r#""null""#,
        r#""true""#,
        r#""false""#,
        r#""truer""#,
        r#""1""#,
        r#"" 1""#,
        r#""1 ""#,
        r#""-1""#,
        r#""-0""#,
        r#""1.5""#,
        r#""18446744073709551616""#,
        r#""-18446744073709551616""#,
        "[]",
        "[1, -2]",
        "[300, \"a\"]",
        "[1,]",
        "[1",
        "{}",
        r#"{"Unit": null}"#,
        r#"{"Unit": 1}"#,
        r#"{"a": [1, {"b": "c"}]}"#,
        r#"{"1": 1, "true": 2}"#,
        r#"{1: 1}"#,
    ] {
        assert_visited_alike(json);
    }
}

/// `serde_json` takes what it could not read, and so goes on at its end.
#[test]
fn what_was_passed_over_is_what_serde_json_passes_over() {
    for json in [
        "1",
        r#""a""#,
        "[300]",
        "[[300], [1]]",
        "[[300]",
        r#"[1, "a", 2]"#,
        r#"["a", 300, 1.5, null, [1], {"a": 1}]"#,
        r#"{"Tuple": [300, ""]}"#,
        r#"[{"Tuple": [300, ""]}"#,
    ] {
        assert_same::<Lenient<u8>>(json.as_bytes());
        assert_same::<Lenient<Kind>>(json.as_bytes());
        assert_same::<Lenient<Vec<u8>>>(json.as_bytes());
        assert_same::<Lenient<Vec<Lenient<Vec<u8>>>>>(json.as_bytes());
        assert_same::<Vec<Lenient<Vec<u8>>>>(json.as_bytes());
        assert_same::<Vec<Lenient<Box<RawValue>>>>(json.as_bytes());
        assert_same::<Vec<Lenient<Pair>>>(json.as_bytes());
        assert_same::<Vec<Lenient<Plain>>>(json.as_bytes());
    }
    for json in [r#"[1, "a", 2]"#, "[null, 300, 2, 1.5]", "[]"] {
        assert_same::<Readable<u8>>(json.as_bytes());
    }
}

#[test]
fn keys_are_texts_or_numbers_in_quotes() {
    assert_read::<BTreeMap<i64, u8>>(r#"{"-1": 1, "20": 2}"#);
    assert_read::<BTreeMap<Wrapped, u8>>(r#"{"-5": 1}"#);
    assert_read::<BTreeMap<Option<String>, u8>>(r#"{"a": 1}"#);
    assert_read::<BTreeMap<Kind, u8>>(r#"{"Unit": 1}"#);
    assert_read::<BTreeMap<char, u8>>(r#"{"\u0041": 1, "b": 2}"#);
    for odd in [
        r#"{" 1":1}"#,
        r#"{"1 ":1}"#,
        r#"{"":1}"#,
        r#"{"1.5":1}"#,
        r#"{1:1}"#,
    ] {
        assert_same::<BTreeMap<i64, u8>>(odd.as_bytes());
    }
}

#[test]
fn what_only_serde_json_can_read_is_left_to_it() {
    let left = |json: &str| read::<Box<RawValue>>(json).is_none();
    assert!(left("1"));
    assert_same::<Box<RawValue>>(b" {\"a\" : [1.50]}");
    assert_same::<BTreeMap<bool, u8>>(br#"{"true": 1}"#);
}

#[test]
fn as_many_levels_are_read_as_serde_json_reads() {
    for levels in 120..135 {
        let arrays = "[".repeat(levels) + &"]".repeat(levels);
        assert_same::<Value>(arrays.as_bytes());
        let objects = r#"{"a":"#.repeat(levels) + "0" + &"}".repeat(levels);
        assert_same::<Value>(objects.as_bytes());
    }
    assert_read::<Value>(&("[".repeat(127) + &"]".repeat(127)));
    // Only those that are open at a time count.
    assert_read::<Value>(&format!("[{}[]]", "[[]],".repeat(200)));
}

#[test]
fn what_is_no_json_is_the_error_that_serde_json_gives() {
    let odd = [
        "",
        " ",
        "nul",
        "nulll",
        "tru",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{a:1}",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\t\"",
        "01",
        "-",
        "-01",
        "1.",
        ".1",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "1 1",
        "NaN",
        "Infinity",
        "1e999",
        "-1e999",
        "\u{feff}1",
        "[1]]",
        "'a'",
        "\u{b}1",
        "{\"a\";1}",
        "\"\\'\"",
        "\"\\ud800\\ue000\"",
        "\"\\ud800xxdc00\"",
        "[\"\\n\u{1}]",
    ];
    for json in odd {
        assert!(serde_json::from_str::<Value>(json).is_err(), "{json}");
        assert_same::<Value>(json.as_bytes());
    }
    assert_same::<Value>("9".repeat(400).as_bytes());
    assert_same::<String>(b"\"\xff\"");
    assert_same::<Vec<Kind>>(br#"["new \"type\"" 5]"#);
    assert_same::<(u8,)>(b"[1}");
    assert_same::<Row>(br#"{"id": "one"}"#);
    assert_same::<Kind>(br#"{"Unit": 1}"#);
    assert_same::<Kind>(br#"{"Unit": null, "Unit": null}"#);
    assert_same::<Kind>(b"1");
    assert_same::<u8>(b"256");
    assert_same::<(u8, u8)>(b"[1]");
    assert_same::<(u8, u8)>(b"[1, 2, 3]");
}

/// Of many digits, too, where a division does not round right.
#[test]
fn every_float_is_the_one_nearest_to_its_digits() {
    let digits = [
        "0.1",
        "-0.0",
        "1.0",
        "5e-324",
        "2.4703282292062328e-324",
        "1.7976931348623157e308",
        "9007199254740993.0",
        "123456789.123456789123456789",
        "0.3333333333333333148",
        "8.41e+21",
        "1e23",
        "4.35",
        "99999999999999999999.5",
        "0.000000000000000000000000000001",
        "-2.2250738585072014E-308",
        "9999999999999999999.9",
        "1e-400",
        "1E5",
        "1.8446744073709551617",
        "1157247734778051.1",
    ];
    for text in digits {
        let expected: f64 = text.parse().unwrap();
        let value: f64 = read(text).unwrap();
        assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
    }
    for decimals in 1..30 {
        let text = "0.".to_owned() + &"3".repeat(decimals);
        assert_eq!(read::<f64>(&text), text.parse().ok(), "{text}");
    }
}

/// Rounded to 64 bits first, it would be the float below.
#[test]
fn a_float_of_32_bits_is_rounded_once() {
    let text = "1.00000005960464477541";
    let value: f32 = read(text).unwrap();
    assert_eq!(value.to_bits(), text.parse::<f32>().unwrap().to_bits());
    assert_ne!(
        value.to_bits(),
        (text.parse::<f64>().unwrap() as f32).to_bits()
    );
    let keys: BTreeMap<F32, u8> = read(&format!("{{\"{text}\": 1}}")).unwrap();
    assert_eq!(
        keys.into_keys().next(),
        Some(F32("visit_f64 1.0000001192092896".into()))
    );
    assert_same::<f32>(b"1e40");
}

#[test]
fn integers_keep_their_type_up_to_the_last_that_fits() {
    assert_same::<i128>(b"-170141183460469231731687303715884105728");
    assert_same::<Value>(b"123456789012345678901234567890");
    for text in [
        "0",
        "9223372036854775807",
        "9223372036854775808",
        "9999999999999999999",
        "18446744073709551615",
        "-1",
        "-9223372036854775808",
        "-9223372036854775809",
        "-0",
        "18446744073709551616",
    ] {
        assert_same::<Value>(text.as_bytes());
    }
}

#[test]
fn each_character_is_read_at_each_place_of_a_short_and_of_a_long_text() {
    for character in (0..0x100)
        .chain([0x2028, 0x1f600])
        .filter_map(char::from_u32)
    {
        for len in [0, 1, 6, 7, 8, 9, 31, 32, 33, 70] {
            for place in 0..=len {
                let mut text = "x".repeat(len);
                text.insert(place, character);
                assert_read::<String>(&serde_json::to_string(&text).unwrap());
                let is_special = character < ' ' || character == '"' || character == '\\';
                assert_eq!(is_plain(text.as_bytes()), !is_special, "{text:?}");
                assert_eq!(
                    read::<String>(&format!("\"{text}\"")).is_some(),
                    !is_special,
                    "{text:?}"
                );
            }
        }
    }
}

#[test]
fn every_escape_and_every_space_is_read() {
    assert_read::<String>(r#""\"\\\/\b\f\n\r\t\u00E9\u00e9""#);
    assert_read::<String>(r#""\ud800\udc00\ud800\udfff\udbff\udc00\udbff\uDFFF\ud7ff\ue000""#);
    assert_read::<Value>(" \t\r\n[\r1\r,\t2 , {\n\"a\"\r: 3\t}\n]\r\n\t ");
}

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
