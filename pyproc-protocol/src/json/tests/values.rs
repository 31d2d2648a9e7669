//! Values of each kind of type, and what they visit.

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};

use super::{assert_read, assert_same, types::*};
use crate::json::read;

#[test]
fn every_kind_of_type_is_decoded() {
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
fn values_are_skipped_as_serde_json_skips_them() {
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
fn rare_types_are_left_to_serde_json() {
    let left = |json: &str| read::<Box<RawValue>>(json).is_none();
    assert!(left("1"));
    assert_same::<Box<RawValue>>(b" {\"a\" : [1.50]}");
    assert_same::<BTreeMap<bool, u8>>(br#"{"true": 1}"#);
}

#[test]
fn the_nesting_limit_is_the_one_of_serde_json() {
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
fn invalid_json_gives_the_error_of_serde_json() {
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
        "1.e5",
        "1.5e",
        "1.12345678e",
        "1.12345678.5",
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
