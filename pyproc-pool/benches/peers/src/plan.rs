//! What is measured: a session and its steps.

use std::{fmt, path::PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One peer doing one work in one arrangement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Its name in the catalog.
    pub peer: String,
    /// What is called.
    pub work: Work,
    /// Worker processes.
    pub workers: usize,
    /// What the callers run on.
    pub runtime: Runtime,
    /// Where the processes run.
    pub placement: Placement,
    /// The Python for the peer's processes.
    pub python: PathBuf,
    /// Rounds of `burn` that took this machine about a millisecond.
    pub burn_rounds: u64,
    /// Measured one after another.
    pub steps: Vec<Step>,
}

/// What one call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
pub enum Work {
    /// 52 bytes to and fro, no protocol.
    #[serde(rename = "pingpong")]
    Pingpong,
    /// `predict({"value": 42})`.
    #[value(name = "W1")]
    W1,
    /// A JSON document of 100 kB, echoed.
    #[value(name = "W2")]
    W2,
    /// One million float64, summed.
    #[value(name = "W3")]
    W3,
    /// A millisecond of plain Python.
    #[serde(rename = "burn1ms")]
    #[value(name = "burn1ms")]
    Burn,
    /// No calls: what waiting costs.
    #[serde(rename = "idle")]
    Idle,
    /// Many calls that nobody answers: what they cost in memory.
    #[serde(rename = "held")]
    Held,
}

/// What the callers run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// One thread that blocks.
    Blocking,
    /// tokio's, caller and connection on one thread.
    CurrentThread,
    /// tokio's, as many threads as there are cores.
    MultiThread,
    /// A Python program.
    Python,
}

/// Where client and workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// The client's threads on the first core, the workers' on the second.
    Apart,
    /// Where the system puts them.
    Free,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Step {
    /// So many callers, each making one call after another.
    ClosedLoop {
        /// Callers.
        in_flight: usize,
        /// How long.
        seconds: f64,
    },
    /// Calls at fixed times. A late start counts as latency: it is measured from when the call was due.
    FixedRate {
        /// Calls a second.
        per_second: u32,
        /// How long.
        seconds: f64,
    },
    /// No calls, after some.
    Idle {
        /// How long.
        seconds: f64,
    },
    /// Calls made and held on to.
    Held {
        /// How many.
        calls: usize,
    },
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (work, runtime) = (self.work.name(), self.runtime.name());
        let Self { peer, workers, .. } = self;
        write!(f, "{peer} ({runtime}), {work}, {workers} worker(s)")
    }
}

/// A value's name in JSON.
macro_rules! named {
    ($($type:ty)+) => {$(
        impl $type {
            /// As in `results.json`.
            pub fn name(self) -> String {
                let json = serde_json::to_value(self).unwrap_or_default();
                json.as_str().unwrap_or_default().into()
            }
        }
    )+};
}

named!(Work Runtime Placement);
