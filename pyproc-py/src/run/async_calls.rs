//! Calls of `async def` functions, which run on the event loop of `pyproc_worker._calls.event_loop`.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyproc_protocol::Times;
use pyproc_protocol::Version;

use super::answers::{self, FailedRequest};
use super::call_info::CallInfo;
use crate::package::{Function, ends_worker};
use crate::state::{AsyncCall, ConnectionId, Core};
use crate::transport::{Call, Channel};
use crate::types::json::KeyCache;

/// A call for the event loop: its token, the callable that begins it, and the argument.
pub(crate) type PreparedCall<'py> = (u64, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Enters a call of an `async def` function. Raises `InvalidRequest` if its body cannot be decoded.
pub(crate) fn prepare<'py>(
    core: &Core,
    keys: &mut KeyCache,
    connection_id: ConnectionId,
    channel: Option<&Channel>,
    call: Call,
    function: &Function,
    plan: Bound<'py, PyAny>,
) -> PyResult<PreparedCall<'py>> {
    let (py, package) = (plan.py(), &core.package);
    let argument = answers::argument(py, package, keys, call.codec, &call.body)?;
    let (mut start, mut event, mut stopwatch) = (plan, None, None);
    if function.cancellable {
        let new = package.event(py)?;
        start = package.with_event(start, &new)?;
        event = Some(Arc::new(new.unbind()));
    }
    if channel.is_some() || !call.metadata.is_empty() {
        let info = CallInfo::new(py, &call.metadata, channel)?;
        start = info.around_async(start, &function.text)?;
    }
    if call.wants_times && call.version == Version::V2 {
        let (new, measured) = package.measured(start)?;
        start = measured;
        stopwatch = Some(new.unbind());
    }
    let token = core.lock().begin_async(AsyncCall {
        connection_id,
        id: call.id,
        version: call.version,
        codec: call.codec,
        method: function.name.clone(),
        size: call.body.len() + core.limits.running_cost,
        event,
        stopwatch,
    });
    Ok((token, start, argument))
}

/// Submits calls to the event loop. If it does not take them, answers them with the reason. Raises what ends the worker.
pub(crate) fn submit<'py>(
    py: Python<'py>,
    core: &Arc<Core>,
    calls: Vec<PreparedCall<'py>>,
) -> PyResult<()> {
    let tokens: Vec<u64> = calls.iter().map(|(token, ..)| *token).collect();
    let submitted = event_loop(py, core).and_then(|it| it.call_method1("submit", (calls,)));
    let Err(error) = submitted else { return Ok(()) };
    if ends_worker(py, &error) {
        return Err(error);
    }
    for token in tokens {
        // If the event loop runs the call nevertheless, its answer is dropped.
        let call = core.lock().end_async(token);
        if let Some(call) = call {
            write_answer(py, core, &call, Err(error.clone_ref(py)))?;
        }
    }
    Ok(())
}

/// Cancels all calls on the event loop, and waits for them for a bounded time.
pub(crate) fn stop(py: Python<'_>, core: &Core) -> PyResult<()> {
    if let Some(event_loop) = core.event_loop.get() {
        event_loop.bind(py).call_method0("stop")?;
    }
    Ok(())
}

fn event_loop<'py>(py: Python<'py>, core: &Arc<Core>) -> PyResult<Bound<'py, PyAny>> {
    if let Some(event_loop) = core.event_loop.get() {
        return Ok(event_loop.bind(py).clone());
    }
    let results = Bound::new(
        py,
        AsyncResults {
            core: Arc::clone(core),
        },
    )?;
    let parts = (results.getattr("answer")?, results.getattr("flush")?);
    let event_loop = py
        .import("pyproc_worker._calls.event_loop")?
        .getattr("EventLoopThread")?
        .call1(parts)?;
    // Another thread may have set one first. A loop without calls has no thread.
    let _ = core.event_loop.set(event_loop.unbind());
    let event_loop = core
        .event_loop
        .get()
        .ok_or_else(|| PyRuntimeError::new_err("no event loop"))?;
    Ok(event_loop.bind(py).clone())
}

/// Takes the results of the event loop, on its thread.
#[pyclass(frozen, module = "pyproc_worker._core")]
struct AsyncResults {
    core: Arc<Core>,
}

#[pymethods]
impl AsyncResults {
    /// Writes the answer to a call. An error that ends the worker may come without a token.
    fn answer(
        &self,
        py: Python<'_>,
        token: Option<u64>,
        result: Bound<'_, PyAny>,
        error: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let error = error.map(PyErr::from_value);
        if self.core.forks.has_forked() {
            return Err(self.core.package.leave(py, error.as_ref()));
        }
        let call = token.and_then(|token| self.core.lock().end_async(token));
        if let Some(error) = &error
            && ends_worker(py, error)
        {
            let error = error.clone_ref(py);
            self.core.lock().exit.get_or_insert(error);
            self.core.wake();
            return Ok(());
        }
        match call {
            Some(call) => write_answer(py, &self.core, &call, error.map_or(Ok(&result), Err)),
            None => Ok(()),
        }
    }

    /// Sends the answers that were written since the last time.
    fn flush(&self) {
        if self.core.forks.has_forked() {
            return;
        }
        let mut state = self.core.lock();
        let mut wake = state.draining;
        for connection_id in mem::take(&mut state.unsent) {
            if let Some(connection) = state.get(connection_id) {
                let failed = connection.flush().is_err();
                connection.send_failed |= failed;
                // The serving thread polls for space, reads again, or closes the connection.
                wake |= failed
                    || connection.input_ended
                    || !connection.outgoing.is_empty()
                    || connection.was_paused;
            }
        }
        drop(state);
        if wake {
            self.core.wake();
        }
    }
}

/// Appends the answer of a call to its connection's buffer, without sending it.
fn write_answer(
    py: Python<'_>,
    core: &Core,
    call: &AsyncCall,
    result: PyResult<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let form = core.response_encoder(call.connection_id, call.version);
    let times = times(py, call)?;
    let mut out = Vec::new();
    let written = result.and_then(|result| {
        answers::write_result(
            &core.package,
            form,
            call.id,
            call.codec,
            times,
            result,
            &mut out,
        )
    });
    if let Err(error) = written {
        let failed = FailedRequest {
            id: call.id,
            method: &call.method,
            times,
        };
        answers::write_failure(py, &core.package, form, failed, &error, &mut out)?;
    }
    let mut state = core.lock();
    if let Some(connection) = state.get(call.connection_id) {
        connection.outgoing.append(&mut out);
        // Its answer is in the buffer, so the requests behind it may start.
        connection.is_blocked &= call.id != 0;
        state.unsent.push(call.connection_id);
    }
    drop(state);
    if call.id == 0 {
        core.wake();
    }
    Ok(())
}

/// The start and the duration of a call, which its `Stopwatch` packs as nanoseconds.
fn times(py: Python<'_>, call: &AsyncCall) -> PyResult<Option<Times>> {
    let Some(stopwatch) = &call.stopwatch else {
        return Ok(None);
    };
    debug_assert_eq!(call.version, Version::V2);
    let packed = stopwatch.bind(py).call_method0("packed")?;
    let packed = packed.cast::<PyBytes>()?.as_bytes();
    let nanoseconds = |part: &[u8; 8]| Duration::from_nanos(u64::from_be_bytes(*part));
    Ok(match packed.as_chunks::<8>().0 {
        [start, duration] => Some(Times {
            start: nanoseconds(start),
            duration: nanoseconds(duration),
        }),
        _ => None,
    })
}
