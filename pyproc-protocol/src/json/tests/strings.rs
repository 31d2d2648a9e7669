//! Strings, escapes and white space.

use serde_json::Value;

use super::assert_read;
use crate::json::{is_plain, read};

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
