//! What code can know of a call, as `_calls.current.Call` takes it.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use pyproc_protocol::Headers;
use pyproc_protocol::TraceContext;

use crate::package::{LazyImport, partial};
use crate::transport::{CallMetadata, Channel};

static RUN: LazyImport = LazyImport::new("pyproc_worker._calls.current", "run");
static RUN_ASYNC: LazyImport = LazyImport::new("pyproc_worker._calls.current", "run_async");
static CALL: LazyImport = LazyImport::new("pyproc_worker._calls.current", "Call");

/// Headers, trace and channel of a call.
pub(super) struct CallInfo<'py> {
    headers: Option<Bound<'py, PyDict>>,
    trace: Option<Bound<'py, PyBytes>>,
    channel: Option<Bound<'py, PyAny>>,
}

impl<'py> CallInfo<'py> {
    pub(super) fn new(
        py: Python<'py>,
        metadata: &CallMetadata,
        channel: Option<&Channel>,
    ) -> PyResult<Self> {
        let headers = metadata.headers.as_ref().map(|headers| dict(py, headers));
        let trace = metadata.trace.as_ref();
        Ok(Self {
            headers: headers.transpose()?,
            trace: trace.map(|trace| PyBytes::new(py, &packed(trace))),
            channel: channel.map(|channel| channel.bind(py).clone()),
        })
    }

    /// Runs a plain function by `_calls.current.run`, which calls the package's hooks around it.
    pub(super) fn run(
        self,
        name: &Py<PyString>,
        start: &Bound<'py, PyAny>,
        body: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let parts = (start, body, name, self.headers, self.trace, self.channel);
        RUN.get(start.py())?.call1(parts)
    }

    /// Wraps `start`, which begins a call of an `async def` function, so that code in it finds this.
    pub(super) fn around_async(
        self,
        start: Bound<'py, PyAny>,
        name: &Py<PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = start.py();
        let call = self.into_call(name.bind(py))?;
        let arguments = PyTuple::new(py, [RUN_ASYNC.get(py)?, &call, &start])?;
        partial(arguments, None)
    }

    /// The `Call`.
    pub(super) fn into_call(self, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        CALL.get(py)?
            .call1((name, self.headers, self.trace, self.channel))
    }
}

fn dict<'py>(py: Python<'py>, headers: &Headers) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in headers {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

fn packed(trace: &TraceContext) -> [u8; 25] {
    let mut packed = [0; 25];
    packed[..16].copy_from_slice(&trace.trace_id);
    packed[16..24].copy_from_slice(&trace.span_id);
    packed[24] = trace.flags;
    packed
}
