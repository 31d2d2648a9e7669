//! What a client wants.

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyproc_protocol::v2::Codec;
use pyproc_protocol::{Features, Version};

use super::large::LARGE;
use crate::functions::FunctionId;

/// What is to be done for a client, in its turn.
pub(crate) enum Waiting {
    Call(Call),
    Hello(Greeting),
    /// The hello made no sense.
    Refusal {
        id: u64,
        reason: String,
    },
}

/// A client's hello, as far as its answer depends on it.
pub(crate) struct Greeting {
    pub(crate) id: u64,
    /// The newest that both speak.
    pub(crate) version: Version,
    pub(crate) features: Features,
    pub(crate) agent: String,
}

/// A request.
pub(crate) struct Call {
    pub(crate) id: u64,
    /// The version to answer in.
    pub(crate) version: Version,
    pub(crate) target: Target,
    pub(crate) codec: Codec,
    pub(crate) wants_times: bool,
    pub(crate) body: CallBody,
}

pub(crate) enum Target {
    Function(FunctionId),
    Name(String),
    /// An index that is not in the table.
    Index(u16),
}

pub(crate) enum CallBody {
    Frame(Bytes),
    Object(Py<PyBytes>),
}

/// A function that the hello listed.
pub(crate) struct Listed {
    pub(crate) id: FunctionId,
    /// Its name, if it is `async def`.
    pub(crate) concurrent: Option<String>,
}

impl CallBody {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Frame(bytes) => bytes.len(),
            Self::Object(_) => LARGE, // at least
        }
    }
}

impl Waiting {
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Call(call) => call.id,
            Self::Hello(greeting) => greeting.id,
            Self::Refusal { id, .. } => *id,
        }
    }
}
