//! What a client asks for.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyproc_protocol::{AcceptedHello, Headers, Version};
use pyproc_protocol::{Codec, TraceContext};

use crate::package::FunctionId;

/// Among the flags of a trace.
const SAMPLED: u8 = 0x01;

/// The `Channel` for records to a client.
pub(crate) type Channel = Arc<Py<PyAny>>;

/// A request that waits for its turn.
pub(crate) enum PendingRequest {
    Call(Call),
    Hello(AcceptedHello),
}

/// A call of a function.
pub(crate) struct Call {
    pub(crate) id: u64,
    /// The version to answer in.
    pub(crate) version: Version,
    pub(crate) target: Target,
    pub(crate) codec: Codec,
    pub(crate) wants_times: bool,
    pub(crate) metadata: CallMetadata,
    pub(crate) body: CallBody,
}

/// What came with a call besides its body.
#[derive(Clone, Default)]
pub(crate) struct CallMetadata {
    pub(crate) trace: Option<TraceContext>,
    pub(crate) headers: Option<Arc<Headers>>,
}

impl CallMetadata {
    pub(super) fn new(trace: Option<TraceContext>, headers: Headers) -> Self {
        let headers = (!headers.is_empty()).then(|| Arc::new(headers));
        Self { trace, headers }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.trace.is_none() && self.headers.is_none()
    }

    /// Whether it is a trace and nothing else.
    pub(crate) fn has_only_trace(&self) -> bool {
        self.trace.is_some() && self.headers.is_none()
    }

    /// Whether what happens in the call is likely to be recorded.
    pub(crate) fn is_likely_recorded(&self) -> bool {
        self.headers.is_some() || self.trace.is_some_and(|trace| trace.flags & SAMPLED != 0)
    }
}

/// The function that is called.
pub(crate) enum Target {
    Function(FunctionId),
    Name(String),
    /// An index that was not in the table when the request came.
    Index(u16),
}

/// The argument, encoded.
pub(crate) enum CallBody {
    Frame(Bytes),
    /// A large raw payload.
    Object {
        bytes: Py<PyBytes>,
        len: usize,
    },
}

impl CallBody {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Frame(bytes) => bytes.len(),
            Self::Object { len, .. } => *len,
        }
    }
}

/// A function that the answer to the hello listed.
pub(crate) struct ListedFunction {
    pub(crate) id: FunctionId,
    /// Its name, if it is `async def`.
    pub(crate) async_name: Option<String>,
}
