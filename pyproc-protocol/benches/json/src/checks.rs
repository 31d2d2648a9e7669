//! What each library gets wrong.

use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cases::{Number, Random};
use crate::libraries::{Library, Ours, SerdeJson, SimdJson, SonicRs};

/// Levels of arrays that must end in an error, not in a stack overflow.
const DEEP: usize = 100_000;

/// Prints a line for each library.
pub fn print() -> Result<()> {
    check::<Ours>()?;
    check::<SerdeJson>()?;
    check::<SonicRs>()?;
    check::<SimdJson>()
}

fn check<L: Library>() -> Result<()> {
    let mut wrong = Wrong::default();
    numbers::<L>(&mut wrong);
    floats::<L>(&mut wrong);
    invalid::<L>(&mut wrong);
    keys::<L>(&mut wrong);
    depth::<L>(&mut wrong)?;
    written::<L>(&mut wrong)?;
    println!("{}: {}", L::NAME, wrong.text());
    Ok(())
}

#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, right: bool, what: impl Into<String>) {
        if !right {
            self.0.push(what.into());
        }
    }

    fn text(&self) -> String {
        match &self.0[..] {
            [] => "nothing wrong".into(),
            all => all.join("; "),
        }
    }
}

fn numbers<L: Library>(wrong: &mut Wrong) {
    let mut it = L::default();
    let right = it
        .read::<u64>(b"18446744073709551615")
        .is_ok_and(|it| it == u64::MAX);
    wrong.unless(right, "reads no u64::MAX");
    let right = it
        .read::<i64>(b"-9223372036854775808")
        .is_ok_and(|it| it == i64::MIN);
    wrong.unless(right, "reads no i64::MIN");
    let right = it
        .read::<u128>(b"340282366920938463463374607431768211455")
        .is_ok_and(|it| it == u128::MAX);
    wrong.unless(right, "reads no u128::MAX");
    let right = it
        .read::<Value>(b"123456789012345678901")
        .is_ok_and(|it| it.as_f64() == Some(123_456_789_012_345_678_901.0));
    wrong.unless(right, "reads no integer of 21 digits as a Value");
    let right = it
        .read::<f64>(b"123456789012345678901234567890")
        .is_ok_and(|it| it == 123_456_789_012_345_678_901_234_567_890.0);
    wrong.unless(right, "reads no integer of 30 digits as a float");
    wrong.unless(it.read::<i64>(b"1.0").is_err(), "reads 1.0 as an integer");
    wrong.unless(it.read::<u8>(b"256").is_err(), "reads 256 as a u8");
    let right = it
        .read::<f64>(b"-0.0")
        .is_ok_and(|it| it.to_bits() == (-0.0_f64).to_bits());
    wrong.unless(right, "loses the sign of -0.0");
}

fn floats<L: Library>(wrong: &mut Wrong) {
    let mut it = L::default();
    let mut random = Random::default();
    let mut texts: Vec<String> = vec![
        "9007199254740993.0".into(),
        "2.2250738585072011e-308".into(),
        "1.7976931348623157e308".into(),
        "5e-324".into(),
        "2.4703282292062328e-324".into(),
        "0.1e-5".into(),
        "6929495644600919.5".into(),
        "3.5844466002796428e298".into(),
        format!("0.{}1", "0".repeat(400)),
        format!("1.{}1", "0".repeat(100)),
        format!("9007199254740993{}.0", "0".repeat(20)),
    ];
    while texts.len() < 200_000 {
        let float = f64::from_bits(random.next());
        if float.is_finite() {
            texts.push(format!("{float:e}"));
            texts.push(format!("{:.17e}", float));
            texts.push((f64::from(random.next() as u32) / 1000.0).to_string() + ".0");
        }
    }
    let (mut off, mut refused, mut checked) = (0, 0, 0);
    for text in &texts {
        let Ok(expected) = text.parse::<f64>() else {
            continue;
        };
        checked += 1;
        match it.read::<f64>(text.as_bytes()) {
            Ok(read) if read.to_bits() == expected.to_bits() => {}
            Ok(_) => off += 1,
            Err(_) => refused += 1,
        }
    }
    wrong.unless(
        off == 0,
        format!("{off} of {checked} floats not the nearest"),
    );
    wrong.unless(
        refused == 0,
        format!("refuses {refused} of {checked} floats"),
    );
    let mut off = 0;
    for _ in 0..100_000 {
        let text = format!("{:.9e}", f32::from_bits(random.next() as u32));
        if let Ok(expected) = text.parse::<f32>()
            && expected.is_finite()
        {
            let read = it.read::<f32>(text.as_bytes());
            off += usize::from(!read.is_ok_and(|read| read == expected));
        }
    }
    wrong.unless(
        off == 0,
        format!("{off} of 100,000 floats of 32 bits not the nearest"),
    );
}

fn invalid<L: Library>(wrong: &mut Wrong) {
    let mut it = L::default();
    let documents: &[&[u8]] = &[
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"nan",
        b"1e400",
        b"-1e400",
        b"01",
        b"-01",
        b"1.",
        b".5",
        b"+1",
        b"1e",
        b"-",
        b"[1,]",
        b"[,1]",
        b"{\"a\":1,}",
        b"{\"a\" 1}",
        b"{a:1}",
        b"1 2",
        b"[1] x",
        b"",
        b"\"",
        b"\"\\",
        b"\"\\x\"",
        b"\"\\u12\"",
        b"\"a\nb\"",
        b"\"\x00\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\ud800\\ud800\"",
        b"\"\\ud800x\"",
        b"\"\xff\"",
        b"\"\xc0\xaf\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf5\x80\x80\x80\"",
        b"\"\xe2\x82\"",
        b"{\"\xff\":1}",
        b"tru",
        b"truex",
        b"nul",
        b"[1}",
        b"{\"a\":1]",
        b"'a'",
        b"\xef\xbb\xbf1",
        b"1\x00",
        b"/**/1",
    ];
    for document in documents {
        let name = || format!("reads {}", document.escape_ascii());
        wrong.unless(it.read::<Value>(document).is_err(), name());
        let ignored = it.read::<serde::de::IgnoredAny>(document).is_err();
        wrong.unless(ignored, name() + " where the value is ignored");
    }
    for document in [
        "\"\\ud83d\\ude00\"",
        " [ 1 , 2 ] \n",
        "\"\\/\"",
        "1E5",
        "-0",
    ] {
        let read = it.read::<Value>(document.as_bytes());
        let expected = serde_json::from_str::<Value>(document);
        let right = read.is_ok_and(|read| expected.is_ok_and(|expected| read == expected));
        wrong.unless(right, format!("reads {document} wrong"));
    }
}

fn keys<L: Library>(wrong: &mut Wrong) {
    let mut it = L::default();
    let twice = br#"{"value":1,"value":2}"#;
    wrong.unless(it.read::<Number>(twice).is_err(), "reads a field twice");
    let last = it.read::<Value>(twice).is_ok_and(|it| it["value"] == 2);
    wrong.unless(last, "of two equal keys the last does not count");
    let right = it
        .read::<std::collections::BTreeMap<u8, bool>>(br#"{"1":true}"#)
        .is_ok_and(|it| it.get(&1) == Some(&true));
    wrong.unless(right, "reads no numbers as keys");
    let right = it
        .read::<Shape>(br#"{"Circle":{"radius":1.5}}"#)
        .is_ok_and(|it| it == Shape::Circle { radius: 1.5 });
    wrong.unless(right, "reads no enum");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Circle { radius: f64 },
}

/// A process of its own, since it may end.
fn depth<L: Library>(wrong: &mut Wrong) -> Result<()> {
    let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    let right = L::default().read::<Value>(&nested(100)).is_ok();
    wrong.unless(right, "reads no 100 levels");
    let deep = Command::new(std::env::current_exe()?)
        .args(["deep", L::NAME])
        .output()?;
    match deep.status.code() {
        Some(0) => {}
        Some(_) => wrong.unless(false, format!("reads {DEEP} levels")),
        None => wrong.unless(false, format!("ends the process at {DEEP} levels")),
    }
    Ok(())
}

/// Ends with an error if the library reads a very deep document.
pub fn parse_deep(library: &str) -> Result<()> {
    let document = vec![b'['; DEEP];
    let is_refused = match library {
        "ours" => refuses::<Ours>(&document),
        "serde_json" => refuses::<SerdeJson>(&document),
        "sonic-rs" => refuses::<SonicRs>(&document),
        _ => refuses::<SimdJson>(&document),
    };
    anyhow::ensure!(is_refused);
    Ok(())
}

fn refuses<L: Library>(document: &[u8]) -> bool {
    let complete = [document, &vec![b']'; document.len()]].concat();
    let mut library = L::default();
    library.read::<Value>(document).is_err() && library.read::<Value>(&complete).is_err()
}

/// What is written should be what serde_json writes, as the frames of all versions have been so far.
fn written<L: Library>(wrong: &mut Wrong) -> Result<()> {
    let mut random = Random::default();
    let mut differs = 0;
    for _ in 0..100_000 {
        let float = f64::from_bits(random.next());
        differs += usize::from(!writes_same::<L, _>(&float)?);
    }
    wrong.unless(
        differs == 0,
        format!("writes {differs} of 100,000 floats differently"),
    );
    for float in [
        0.0, -0.0, 1.0, 1e15, 1e16, 1e17, 1e21, 0.0001, 1e-5, 1e-7, 123456.789,
    ] {
        let same = writes_same::<L, _>(&float)?;
        wrong.unless(
            same,
            format!("writes {float:e} as {}", text::<L, _>(&float)),
        );
    }
    for float in [f64::NAN, f64::INFINITY] {
        let same = writes_same::<L, _>(&float)?;
        wrong.unless(same, format!("writes {float} as {}", text::<L, _>(&float)));
    }
    wrong.unless(writes_same::<L, _>(&0.1_f32)?, "writes f32 differently");
    wrong.unless(writes_same::<L, _>(&u128::MAX)?, "writes no u128::MAX");
    let all: String = (0..0x300).filter_map(char::from_u32).collect();
    wrong.unless(writes_same::<L, _>(&all)?, "escapes differently");
    let map = std::collections::BTreeMap::from([(1_u8, Shape::Circle { radius: 1.0 })]);
    wrong.unless(
        writes_same::<L, _>(&map)?,
        "writes numbers as keys differently",
    );
    Ok(())
}

fn writes_same<L: Library, T: Serialize>(value: &T) -> Result<bool> {
    let mut out = Vec::new();
    let is_written = L::default().write(value, &mut out).is_ok();
    Ok(is_written && out == serde_json::to_vec(value)?)
}

fn text<L: Library, T: Serialize>(value: &T) -> String {
    let mut out = Vec::new();
    match L::default().write(value, &mut out) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => "an error".into(),
    }
}
