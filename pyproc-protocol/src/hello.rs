use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{MessageError, RawJson, SessionError, Version, lenient};

/// The method by which a client introduces itself.
pub const HELLO_METHOD: &str = "pyproc.hello";

/// The most functions that a worker may list.
pub const MAX_FUNCTIONS: usize = 4096;

/// Abilities beyond plain calls. Only those that both sides name are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Features {
    /// Error responses say the exception's type and traceback in their headers.
    pub error_details: bool,
    /// The client may send cancellations.
    pub cancel: bool,
    /// The worker sends its log records. Like the next two only with version 2.
    pub logs: bool,
    /// The worker sends the spans that Python code made.
    pub spans: bool,
    /// The worker sends its metrics.
    pub metrics: bool,
}

impl Features {
    const ERROR_DETAILS: &str = "error-details";
    const CANCEL: &str = "cancel";
    const LOGS: &str = "logs";
    const SPANS: &str = "spans";
    const METRICS: &str = "metrics";

    /// No feature: what a peer without a hello has.
    pub const NONE: Self = Self {
        error_details: false,
        cancel: false,
        logs: false,
        spans: false,
        metrics: false,
    };

    /// What calls are better with, and no telemetry: what [`Hello::new`] asks for.
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

    /// What a version of the protocol can carry of these: version 1 has no telemetry.
    pub fn within(self, version: Version) -> Self {
        match version {
            Version::V1 => self.and(Self::CALLS),
            Version::V2 => self,
        }
    }

    /// The features that both name.
    pub fn and(self, other: Self) -> Self {
        Self {
            error_details: self.error_details && other.error_details,
            cancel: self.cancel && other.cancel,
            logs: self.logs && other.logs,
            spans: self.spans && other.spans,
            metrics: self.metrics && other.metrics,
        }
    }

    /// Their names on the wire.
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

/// Unknown names are skipped: they belong to a later release.
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

/// How a client introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Versions of the protocol that the client speaks. Numbers that no version can have are passed over.
    #[serde(deserialize_with = "versions")]
    pub versions: Vec<u32>,
    /// Features that it understands.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub features: Features,
    /// Name and version of its software, for logs.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub agent: String,
    /// The client started this worker, which exits when the connection closes.
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
    /// A hello with every version that this crate knows, from a client that does not own
    /// the worker and wants no telemetry. Who wants some sets [`features`](Self::features).
    pub fn new(agent: impl Into<String>) -> Self {
        Self {
            versions: vec![Version::V1.number(), Version::V2.number()],
            features: Features::CALLS,
            agent: agent.into(),
            owner: false,
        }
    }
}

/// How a worker introduces itself: the body of the answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// The number of the version in force from now on; see [`Version::of`].
    #[serde(deserialize_with = "lenient::integer")]
    pub version: u32,
    /// The features in force from now on.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub features: Features,
    /// Name and version of the worker's software; empty when it does not say.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub agent: String,
    /// The worker's process id; 0 when it does not say.
    #[serde(default, deserialize_with = "lenient::integer_or_default")]
    pub pid: u32,
    /// Version of its Python; empty when it does not say.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub python: String,
    /// The functions that can be called, in order of their names.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub functions: Vec<FunctionInfo>,
}

/// A function that a worker exposes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// The name to call it by.
    pub name: String,
    /// First line of its documentation; may be empty.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub doc: String,
    /// JSON Schema of the body of a request; `{}` accepts anything.
    #[serde(default)]
    pub parameters: serde_json::Value,
    /// JSON Schema of the result; `{}` stands for anything.
    #[serde(default)]
    pub returns: serde_json::Value,
    /// Calls of it run beside other calls, as those of an `async` function do.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub concurrent: bool,
}

/// What is known of the other end once the handshake is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A worker that knows no hello: version 1 without features.
    Plain,
    /// A worker that introduced itself.
    Introduced(WorkerInfo),
}

impl Peer {
    /// The newest version in force.
    pub fn version(&self) -> Version {
        match self {
            Self::Plain => Version::V1,
            // Checked when the worker introduced itself.
            Self::Introduced(info) => Version::of(info.version).unwrap_or(Version::V1),
        }
    }

    /// The functions that the worker listed, in the order that version 2 numbers them by.
    pub fn functions(&self) -> &[FunctionInfo] {
        match self {
            Self::Plain => &[],
            Self::Introduced(info) => &info.functions,
        }
    }

    /// The features in force.
    pub fn features(&self) -> Features {
        match self {
            Self::Plain => Features::NONE,
            Self::Introduced(info) => info.features,
        }
    }

    /// Reads a worker's answer to `hello`.
    pub(crate) fn introduced(body: &RawJson, hello: &Hello) -> Result<Self, SessionError> {
        let mut info: WorkerInfo = body.decode().map_err(SessionError::HelloBody)?;
        let chosen = Version::of(info.version).filter(|_| hello.versions.contains(&info.version));
        let Some(version) = chosen else {
            return Err(SessionError::Version {
                version: info.version,
            });
        };
        let count = info.functions.len();
        if count > MAX_FUNCTIONS {
            return Err(MessageError::TooManyFunctions { count }.into());
        }
        info.features = info.features.and(hello.features).within(version);
        Ok(Self::Introduced(info))
    }
}
