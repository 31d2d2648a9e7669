//! Integers and floats.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{assert_same, types::F32};
use crate::json::read;

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
        "1.1234567",
        "1.12345678",
        "12345678901.1234567",
        "123456789012345678901.5",
        "1.5e3",
        "-1.12345678e-3",
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
