//! What the handshake exchanges.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Version, lenient};

/// The method of the hello: the request with which a client begins the handshake.
pub const HELLO_METHOD: &str = "pyproc.hello";

/// Optional features. A feature is in force only if both sides name it in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Features {
    /// Error responses of version 1 carry the exception's type and traceback in headers.
    pub error_details: bool,
    /// The client may send cancellations.
    pub cancel: bool,
    /// The worker sends log records. Only with version 2, like the next two features.
    pub logs: bool,
    /// The worker sends the spans of the functions' code.
    pub spans: bool,
    /// The worker sends metrics.
    pub metrics: bool,
}

impl Features {
    const ERROR_DETAILS: &str = "error-details";
    const CANCEL: &str = "cancel";
    const LOGS: &str = "logs";
    const SPANS: &str = "spans";
    const METRICS: &str = "metrics";

    /// No features, as without a hello.
    pub const NONE: Self = Self {
        error_details: false,
        cancel: false,
        logs: false,
        spans: false,
        metrics: false,
    };

    /// The features about calls, without telemetry. [`Hello::new`] asks for these.
    pub const CALLS: Self = Self {
        error_details: true,
        cancel: true,
        ..Self::NONE
    };

    /// Every feature that this crate knows.
    pub const ALL: Self = Self {
        logs: true,
        spans: true,
        metrics: true,
        ..Self::CALLS
    };

    /// Whether the worker sends telemetry of any kind.
    pub fn has_telemetry(self) -> bool {
        self.logs || self.spans || self.metrics
    }

    /// The features that are possible in this version: version 1 has no telemetry.
    pub fn supported_by(self, version: Version) -> Self {
        match version {
            Version::V1 => self.intersection(Self::CALLS),
            Version::V2 => self,
        }
    }

    /// The features that are in both sets.
    pub fn intersection(self, other: Self) -> Self {
        Self {
            error_details: self.error_details && other.error_details,
            cancel: self.cancel && other.cancel,
            logs: self.logs && other.logs,
            spans: self.spans && other.spans,
            metrics: self.metrics && other.metrics,
        }
    }

    /// The features' names on the wire.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.error_details, Self::ERROR_DETAILS),
            (self.cancel, Self::CANCEL),
            (self.logs, Self::LOGS),
            (self.spans, Self::SPANS),
            (self.metrics, Self::METRICS),
        ]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
    }
}

/// An array of names, as on the wire.
impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

/// Ignores unknown names, which belong to later releases.
impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut features = Self::NONE;
        for name in Vec::<String>::deserialize(deserializer)? {
            match name.as_str() {
                Self::ERROR_DETAILS => features.error_details = true,
                Self::CANCEL => features.cancel = true,
                Self::LOGS => features.logs = true,
                Self::SPANS => features.spans = true,
                Self::METRICS => features.metrics = true,
                _ => {}
            }
        }
        Ok(features)
    }
}

/// The body of a hello: what the client supports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Versions of the protocol that the client supports. Decoding ignores numbers that cannot be versions.
    #[serde(deserialize_with = "versions")]
    pub versions: Vec<u32>,
    /// Features that the client supports.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub features: Features,
    /// Name and version of the client's software, for logs.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub agent: String,
    /// Whether the client started this worker, which then exits when the connection closes.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub owner: bool,
}

fn versions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let numbers = Vec::<f64>::deserialize(deserializer)?;
    let possible =
        |number: &f64| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number);
    Ok(numbers
        .into_iter()
        .filter(possible)
        .map(|it| it as u32)
        .collect())
}

impl Hello {
    /// A hello with every version that this crate supports, from a client that does not own the worker. It asks for no
    /// telemetry; set [`features`](Self::features) to ask for it.
    pub fn new(agent: impl Into<String>) -> Self {
        Self {
            versions: vec![Version::V1.number(), Version::V2.number()],
            features: Features::CALLS,
            agent: agent.into(),
            owner: false,
        }
    }
}

/// The body of the response to a hello: what the worker is, and what both sides support.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// The number of the version in force from now on; see [`Version::from_number`].
    #[serde(deserialize_with = "lenient::integer")]
    pub version: u32,
    /// The features in force from now on.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub features: Features,
    /// Name and version of the worker's software; empty if unknown.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub agent: String,
    /// The worker's process id; 0 if unknown.
    #[serde(default, deserialize_with = "lenient::integer_or_default")]
    pub pid: u32,
    /// The worker's version of Python; empty if unknown.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub python: String,
    /// The exposed functions, in the order of their names.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub functions: Vec<FunctionInfo>,
}

/// A function that a worker exposes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// The function's name.
    pub name: String,
    /// The first line of the function's documentation; may be empty.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub doc: String,
    /// JSON Schema of a request's body; `{}` accepts anything.
    #[serde(default)]
    pub parameters: serde_json::Value,
    /// JSON Schema of the result; `{}` means any value.
    #[serde(default)]
    pub returns: serde_json::Value,
    /// Whether calls of the function run concurrently with other calls, as with an `async` function.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub concurrent: bool,
}
