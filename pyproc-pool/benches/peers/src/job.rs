//! What a call carries, and whether its answer is right.

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::plan::{Session, Work};

const ROWS: usize = 1190;
const FLOATS: u32 = 1_000_000;

/// Input of `predict`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Number {
    /// To be doubled.
    pub value: u32,
}

/// Input of `burn`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rounds {
    /// Of the loop.
    pub rounds: u64,
}

/// Result of all functions but `echo`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Answer {
    /// Exact in all jobs, also the sum.
    pub result: f64,
}

/// What a session's calls carry.
#[derive(Debug, Clone)]
pub enum Job {
    /// W1, and what runs before idling.
    Predict(Number),
    /// W2. A `serde_json::Value` on the Rust side, both ways.
    Echo(Value),
    /// W3: little-endian float64.
    Total(Bytes),
    /// A millisecond of plain Python.
    Burn(Rounds),
}

impl Job {
    /// The job of a session.
    pub fn of(session: &Session) -> Self {
        match session.work {
            Work::W2 => Self::Echo(document()),
            Work::W3 => Self::Total(array()),
            Work::Burn => Self::Burn(Rounds {
                rounds: session.burn_rounds,
            }),
            Work::Pingpong | Work::W1 | Work::Idle | Work::Held => {
                Self::Predict(Number { value: 42 })
            }
        }
    }

    /// The function to call.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Predict(_) => "predict",
            Self::Echo(_) => "echo",
            Self::Total(_) => "total",
            Self::Burn(_) => "burn",
        }
    }

    /// The input for peers that carry bytes: JSON, or the array as it is.
    pub fn encode(&self) -> Result<Bytes> {
        Ok(match self {
            Self::Predict(number) => serde_json::to_vec(number)?.into(),
            Self::Echo(document) => serde_json::to_vec(document)?.into(),
            Self::Total(array) => array.clone(),
            Self::Burn(rounds) => serde_json::to_vec(rounds)?.into(),
        })
    }

    /// Reads an answer in JSON, and checks it.
    pub fn check(&self, answer: &[u8]) -> Result<()> {
        let read = "an answer that cannot be read";
        match self {
            Self::Echo(document) => {
                check_echo(document, &serde_json::from_slice(answer).context(read)?)
            }
            _ => self.check_answer(serde_json::from_slice(answer).context(read)?),
        }
    }

    /// Checks the answer of any function but `echo`.
    pub fn check_answer(&self, answer: Answer) -> Result<()> {
        let expected = match self {
            Self::Predict(number) => f64::from(number.value) * 2.0,
            Self::Total(_) => f64::from(FLOATS) * (f64::from(FLOATS) - 1.0) / 2.0,
            Self::Burn(rounds) => burnt(rounds.rounds) as f64,
            Self::Echo(_) => f64::NAN,
        };
        ensure!(
            answer.result == expected,
            "a wrong answer: {} instead of {expected}",
            answer.result
        );
        Ok(())
    }
}

/// Enough to catch a mix-up without comparing for longer than the call takes: the last row
/// differs from all others.
pub fn check_echo(sent: &Value, answer: &Value) -> Result<()> {
    let rows = |document: &Value| document["rows"].as_array().map_or(0, Vec::len);
    ensure!(
        rows(answer) == ROWS && answer["rows"][ROWS - 1] == sent["rows"][ROWS - 1],
        "a wrong answer: not the document that was sent"
    );
    Ok(())
}

/// 104 kB as JSON.
fn document() -> Value {
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

/// 0, 1, 2, ... as float64; each partial sum is exact.
fn array() -> Bytes {
    let mut bytes = BytesMut::with_capacity(FLOATS as usize * 8);
    for number in 0..FLOATS {
        bytes.put_f64_le(f64::from(number));
    }
    bytes.freeze()
}

/// What `burn` in `functions.py` returns.
fn burnt(rounds: u64) -> u64 {
    (0..rounds).map(|round| round & 7).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_about_a_hundred_kilobytes() {
        let bytes = serde_json::to_vec(&document()).unwrap().len();
        assert!((95_000..110_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn only_the_right_document_passes() {
        let sent = document();
        let mut other = sent.clone();
        check_echo(&sent, &other).unwrap();
        other["rows"][ROWS - 1]["id"] = json!(0);
        assert!(check_echo(&sent, &other).is_err());
        assert!(check_echo(&sent, &json!({"rows": []})).is_err());
    }

    #[test]
    fn only_the_right_number_passes() {
        let job = Job::Predict(Number { value: 42 });
        job.check(br#"{"result": 84}"#).unwrap();
        assert!(job.check(br#"{"result": 85}"#).is_err());
        assert!(job.check(b"84").is_err());
    }
}
