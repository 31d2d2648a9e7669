//! What is read and written.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const ROWS: usize = 1190;
const NUMBERS: usize = 10_000;
const TEXT: usize = 100_000;

/// W1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Number {
    /// 42.
    pub value: i64,
}

/// W2, typed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// 1,190 of them.
    pub rows: Vec<Row>,
}

/// A row of W2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub active: bool,
    pub id: i64,
    pub name: String,
    pub score: f64,
    pub tags: Vec<String>,
}

/// W2 as the benchmark of the pool has it.
pub fn document() -> Value {
    let row = |number: usize| {
        json!({
            "id": number,
            "name": format!("item {number:05}"),
            "score": number as f64 / 8.0,
            "tags": ["red", "green"],
            "active": number.is_multiple_of(3),
        })
    };
    json!({ "rows": (0..ROWS).map(row).collect::<Vec<_>>() })
}

/// The same, typed.
pub fn rows() -> Document {
    let row = |number: usize| Row {
        active: number.is_multiple_of(3),
        id: number as i64,
        name: format!("item {number:05}"),
        score: number as f64 / 8.0,
        tags: vec!["red".into(), "green".into()],
    };
    Document {
        rows: (0..ROWS).map(row).collect(),
    }
}

/// Floats from 0 to 1 with all their digits.
pub fn floats() -> Vec<f64> {
    let mut random = Random::default();
    (0..NUMBERS)
        .map(|_| (random.next() >> 11) as f64 / (1_u64 << 53) as f64)
        .collect()
}

/// Integers of one to eighteen digits.
pub fn integers() -> Vec<i64> {
    let mut random = Random::default();
    (0..NUMBERS as u32)
        .map(|number| (random.next() % 10_u64.pow(1 + number % 18)) as i64)
        .collect()
}

/// ASCII without anything to escape.
pub fn text() -> String {
    "The quick brown fox jumps over the lazy dog. "
        .chars()
        .cycle()
        .take(TEXT)
        .collect()
}

/// One character in eight is to be escaped, and one is not ASCII.
pub fn special_text() -> String {
    "line\nü \"abc\" ".chars().cycle().take(TEXT).collect()
}

/// Always the same numbers (splitmix64).
#[derive(Default)]
pub struct Random(u64);

impl Random {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
