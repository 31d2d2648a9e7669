//! `async def` functions, which run on the event loop of `pyproc_worker._asyncio`.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyproc_protocol::Version;
use pyproc_protocol::v2::Times;

use super::answers::{self, Failed};
use super::context::Context;
use crate::package::Function;
use crate::package::ends_worker;
use crate::state::{ConcurrentCall, Core, Place};
use crate::transport::{Call, Client};
use crate::types::json::Keys;

/// A call for the event loop: its token, what begins it, and the body.
pub(crate) type Prepared<'py> = (u64, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Enters a call of an `async def` function. Raises `InvalidRequest` if its body cannot be read.
pub(crate) fn prepare<'py>(
    core: &Core,
    keys: &mut Keys,
    place: Place,
    client: &Client,
    call: Call,
    function: &Function,
    plan: Bound<'py, PyAny>,
) -> PyResult<Prepared<'py>> {
    let (py, package) = (plan.py(), &core.package);
    let body = answers::argument(py, package, keys, call.codec, &call.body)?;
    let (mut start, mut event, mut watch) = (plan, None, None);
    if function.cancellable {
        let it = package.event(py)?;
        start = package.with_event(start, &it)?;
        event = Some(Arc::new(it.unbind()));
    }
    if client.channel.is_some() || !call.known.is_nothing() {
        let context = Context::new(py, &call.known, client)?;
        start = context.around(start, &function.text)?;
    }
    if call.wants_times && call.version == Version::V2 {
        let (stopwatch, measured) = package.measured(start)?;
        start = measured;
        watch = Some(stopwatch.unbind());
    }
    let token = core.lock().begin_concurrent(ConcurrentCall {
        place,
        id: call.id,
        version: call.version,
        codec: call.codec,
        method: function.name.clone(),
        size: call.body.len() + core.limits.running_cost,
        event,
        watch,
    });
    Ok((token, start, body))
}

/// Hands calls to the event loop, or answers them with the reason why it has not got them. Raises what ends the worker.
pub(crate) fn submit<'py>(
    py: Python<'py>,
    core: &Arc<Core>,
    calls: Vec<Prepared<'py>>,
) -> PyResult<()> {
    let tokens: Vec<u64> = calls.iter().map(|(token, ..)| *token).collect();
    let submitted = event_loop(py, core).and_then(|it| it.call_method1("submit", (calls,)));
    let Err(error) = submitted else { return Ok(()) };
    if ends_worker(py, &error) {
        return Err(error);
    }
    for token in tokens {
        // Should the event loop run it nevertheless, its answer is dropped.
        let call = core.lock().end_concurrent(token);
        if let Some(call) = call {
            write(py, core, &call, Err(error.clone_ref(py)))?;
        }
    }
    Ok(())
}

/// Cancels what runs, and waits for that a bounded time.
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
    let answers = Bound::new(
        py,
        Answers {
            core: Arc::clone(core),
        },
    )?;
    let parts = (answers.getattr("answer")?, answers.getattr("flush")?);
    let event_loop = py
        .import("pyproc_worker._asyncio")?
        .getattr("EventLoopThread")?
        .call1(parts)?;
    // Another thread may have been faster; a loop without calls has no thread.
    let _ = core.event_loop.set(event_loop.unbind());
    let event_loop = core
        .event_loop
        .get()
        .ok_or_else(|| PyRuntimeError::new_err("no event loop"))?;
    Ok(event_loop.bind(py).clone())
}

/// Takes the results of the event loop, on its thread.
#[pyclass(frozen, module = "pyproc_worker._core")]
struct Answers {
    core: Arc<Core>,
}

#[pymethods]
impl Answers {
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
        let call = token.and_then(|token| self.core.lock().end_concurrent(token));
        if let Some(error) = &error
            && ends_worker(py, error)
        {
            let error = error.clone_ref(py);
            self.core.lock().exit.get_or_insert(error);
            self.core.wake();
            return Ok(());
        }
        match call {
            Some(call) => write(py, &self.core, &call, error.map_or(Ok(&result), Err)),
            None => Ok(()),
        }
    }

    /// Sends the answers that were written since.
    fn flush(&self) {
        if self.core.forks.has_forked() {
            return;
        }
        let mut state = self.core.lock();
        let mut wake = state.draining;
        for place in std::mem::take(&mut state.unsent) {
            if let Some(connection) = state.get(place) {
                let failed = connection.flush().is_err();
                connection.lost |= failed;
                // The serving thread waits for room, reads on, or closes.
                wake |= failed
                    || connection.ended
                    || !connection.outgoing.is_empty()
                    || connection.reads_less;
            }
        }
        drop(state);
        if wake {
            self.core.wake();
        }
    }
}

/// Leaves the answer to a call with its connection, which is yet to send it.
fn write(
    py: Python<'_>,
    core: &Core,
    call: &ConcurrentCall,
    result: PyResult<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let form = core.answer_form(call.place, call.version);
    let times = times(py, call)?;
    let mut out = Vec::new();
    let succeeded = result.and_then(|result| {
        answers::success(
            &core.package,
            form,
            call.id,
            call.codec,
            times,
            result,
            &mut out,
        )
    });
    if let Err(error) = succeeded {
        let failed = Failed {
            id: call.id,
            method: &call.method,
            times,
        };
        answers::failure(py, &core.package, form, failed, &error, &mut out)?;
    }
    let mut state = core.lock();
    if let Some(connection) = state.get(call.place) {
        connection.outgoing.append(&mut out);
        // With its answer on its way, the next may run.
        connection.held &= call.id != 0;
        state.unsent.push(call.place);
    }
    drop(state);
    if call.id == 0 {
        core.wake();
    }
    Ok(())
}

/// What a `Stopwatch` packed: start and duration in nanoseconds.
fn times(py: Python<'_>, call: &ConcurrentCall) -> PyResult<Option<Times>> {
    let Some(watch) = &call.watch else {
        return Ok(None);
    };
    debug_assert_eq!(call.version, Version::V2);
    let packed = watch.bind(py).call_method0("packed")?;
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
