use super::SessionError;
use crate::{
    Features, FunctionInfo, Hello, MAX_FUNCTIONS, MessageError, Version, WorkerInfo, v1::RawJson,
};

/// The worker at the other end of a connection, once the handshake is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A worker that does not know the hello: version 1 without features.
    Legacy,
    /// A worker that answered the hello.
    Negotiated(WorkerInfo),
}

impl Peer {
    /// The newest version in force.
    pub fn version(&self) -> Version {
        match self {
            Self::Legacy => Version::V1,
            // The handshake checked the number.
            Self::Negotiated(info) => Version::from_number(info.version).unwrap_or(Version::V1),
        }
    }

    /// The functions that the worker listed. A function's index in version 2 is its position here.
    pub fn functions(&self) -> &[FunctionInfo] {
        match self {
            Self::Legacy => &[],
            Self::Negotiated(info) => &info.functions,
        }
    }

    /// The features in force.
    pub fn features(&self) -> Features {
        match self {
            Self::Legacy => Features::NONE,
            Self::Negotiated(info) => info.features,
        }
    }

    /// Decodes a worker's response to `hello`.
    pub(super) fn decode(body: &RawJson, hello: &Hello) -> Result<Self, SessionError> {
        let mut info: WorkerInfo = body.decode().map_err(SessionError::HelloBody)?;
        let number = info.version;
        let version = Version::from_number(number).filter(|_| hello.versions.contains(&number));
        let version = version.ok_or(SessionError::Version { version: number })?;
        let count = info.functions.len();
        if count > MAX_FUNCTIONS {
            return Err(MessageError::TooManyFunctions { count }.into());
        }
        info.features = info
            .features
            .intersection(hello.features)
            .supported_by(version);
        Ok(Self::Negotiated(info))
    }
}
