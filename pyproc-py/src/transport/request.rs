//! What a client wants.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyproc_protocol::v2::{Codec, TraceContext};
use pyproc_protocol::{Greeting, Headers, Version};

use crate::package::FunctionId;

/// Among the flags of a trace.
const SAMPLED: u8 = 0x01;

/// What is to be done for a client, in its turn.
pub(crate) enum Waiting {
    Call(Call),
    Hello(Greeting),
}

/// A request.
pub(crate) struct Call {
    pub(crate) id: u64,
    /// The version to answer in.
    pub(crate) version: Version,
    pub(crate) target: Target,
    pub(crate) codec: Codec,
    pub(crate) wants_times: bool,
    pub(crate) known: Known,
    pub(crate) body: CallBody,
}

/// What came with a request besides its body.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub(crate) trace: Option<TraceContext>,
    pub(crate) headers: Option<Arc<Headers>>,
}

impl Known {
    pub(super) fn new(trace: Option<TraceContext>, headers: Headers) -> Self {
        let headers = (!headers.is_empty()).then(|| Arc::new(headers));
        Self { trace, headers }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.trace.is_none() && self.headers.is_none()
    }

    /// Its trace, and nothing else.
    pub(crate) fn is_trace_alone(&self) -> bool {
        self.trace.is_some() && self.headers.is_none()
    }

    /// Whether what happens in the call is likely to be recorded.
    pub(crate) fn is_worth_knowing(&self) -> bool {
        self.headers.is_some() || self.trace.is_some_and(|trace| trace.flags & SAMPLED != 0)
    }
}

/// What its calls need to know of a client.
#[derive(Clone, Default)]
pub(crate) struct Client {
    /// The `Channel` for telemetry, if it wants any.
    pub(crate) channel: Option<Arc<Py<PyAny>>>,
}

pub(crate) enum Target {
    Function(FunctionId),
    Name(String),
    /// An index that was not in the table when the request came.
    Index(u16),
}

pub(crate) enum CallBody {
    Frame(Bytes),
    Object { bytes: Py<PyBytes>, len: usize },
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
            Self::Object { len, .. } => *len,
        }
    }
}
