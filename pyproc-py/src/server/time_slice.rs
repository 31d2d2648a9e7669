//! A connection's time slice: its requests run one after another, then their answers leave in one write.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pyo3::prelude::*;
use pyproc_protocol::ResponseEncoder;
use pyproc_protocol::Times;

use super::Server;
use crate::ffi::SpareContext;
use crate::package::{FunctionId, ends_worker};
use crate::run::answers::{self, FailedRequest};
use crate::run::{CallContext, async_calls, hello};
use crate::state::{ConnectionId, NO_FUNCTION, StartedRequest};
use crate::transport::{Call, PendingRequest, Target};

/// Bytes of capacity that are kept for the answers of later time slices.
const KEPT_CAPACITY: usize = 256 * 1024;

/// Arguments and results of at least so many bytes are freed only after the answers have left, since
/// that takes long.
const LARGE: usize = 8 * 1024;

/// A time slice of one connection.
struct TimeSlice<'py> {
    connection_id: ConnectionId,
    /// Calls that are not submitted to the event loop yet.
    prepared: Vec<async_calls::PreparedCall<'py>>,
    is_first_request: bool,
    watcher_woken: bool,
    spare: SpareContext<'py>,
    /// Large arguments and results, to be freed at the end.
    large_values: Vec<Bound<'py, PyAny>>,
}

/// What became of a call.
enum Started {
    /// It is answered, or will be by the event loop.
    Done,
    /// It is not quick, so earlier answers are sent first.
    Postponed(Call),
}

impl<'py> Server<'_, 'py> {
    /// Runs requests of a connection for about `TURN` of `_limits.py`, then sends their answers.
    pub(super) fn run_time_slice(&mut self, connection_id: ConnectionId) -> PyResult<()> {
        let mut slice = TimeSlice {
            connection_id,
            prepared: Vec::new(),
            is_first_request: true,
            watcher_woken: false,
            spare: SpareContext::default(),
            large_values: Vec::new(),
        };
        let ended = self.run_requests(&mut slice);
        self.core.activity.end_functions();
        let mut state = self.core.lock();
        let running = state.stop_running();
        if let Some(connection) = state.get(connection_id) {
            connection.outgoing.append(&mut self.answers);
        }
        drop(state);
        drop(running);
        self.answers.clear();
        self.answers.shrink_to(KEPT_CAPACITY);
        self.unless_fatal(ended)?;
        self.submit(&mut slice)?;
        self.update_connection(connection_id)
    }

    fn run_requests(&mut self, slice: &mut TimeSlice<'py>) -> PyResult<()> {
        let started = Instant::now();
        let mut now = started;
        while now - started < self.core.limits.time_slice {
            let next = self.core.lock().start_next(slice.connection_id);
            let Some(StartedRequest { request, form, .. }) = next else {
                break;
            };
            match request {
                PendingRequest::Call(call) => {
                    if let Started::Postponed(call) = self.start(slice, call, form, &mut now)? {
                        let request = PendingRequest::Call(call);
                        self.core.lock().put_back(slice.connection_id, request);
                        break;
                    }
                }
                PendingRequest::Hello(greeting) => {
                    self.placeholder.clear(self.py)?; // threads may start, with a copy of this context
                    hello::answer(
                        self.py,
                        self.core,
                        &mut self.functions,
                        slice.connection_id,
                        &greeting,
                        &mut self.answers,
                    )?;
                }
            }
            slice.is_first_request = false;
        }
        Ok(())
    }

    fn start(
        &mut self,
        slice: &mut TimeSlice<'py>,
        call: Call,
        form: ResponseEncoder,
        now: &mut Instant,
    ) -> PyResult<Started> {
        let (id, found) = (call.id, self.find(slice.connection_id, &call.target)?);
        let Some(function) = found else {
            let name = match &call.target {
                Target::Name(name) => name.clone(),
                Target::Index(index) => format!("#{index}"),
                Target::Function(_) => String::new(),
            };
            let error = self.core.package.error(self.py, "MethodNotFound", (&name,));
            self.fail(form, id, &name, None, &error)?;
            return Ok(Started::Done);
        };
        let (about, plan) = self.functions.get(self.py, function)?;
        if about.is_async {
            self.prepare_async(slice, call, form, function, plan)?;
            return Ok(Started::Done);
        }
        if !about.quick && !slice.is_first_request {
            return Ok(Started::Postponed(call));
        }
        self.submit(slice)?;
        self.core.activity.begin_function();
        if !slice.watcher_woken {
            slice.watcher_woken = true;
            self.core.activity.wake_watcher();
        }
        self.core.function.store(function.0, Ordering::Relaxed);
        let ended = self.answer_in_context(slice, &call, form, function, &plan);
        self.core.function.store(NO_FUNCTION, Ordering::Relaxed);
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let rest = self.core.package.deferred(self.py, error)?;
                self.prepare_async(slice, call, form, function, rest)?;
                return Ok(Started::Done);
            }
        };
        let before = mem::replace(now, ended.unwrap_or_else(Instant::now));
        self.functions.get_mut(function).quick = *now - before < self.core.limits.quick;
        Ok(Started::Done)
    }

    fn find(
        &mut self,
        connection_id: ConnectionId,
        target: &Target,
    ) -> PyResult<Option<FunctionId>> {
        match target {
            Target::Function(id) => Ok(Some(*id)),
            Target::Name(name) => self.functions.find(self.py, &self.core.package, name),
            // The table may be newer than the request, if both came in one write with the hello.
            Target::Index(index) => Ok(self
                .with(connection_id, |connection| {
                    let listed = connection.table.get(usize::from(*index));
                    listed.map(|listed| listed.id)
                })
                .flatten()),
        }
    }

    // Plain functions

    /// Runs a plain function in a context of its own, and writes its answer. Returns when the function ended, if
    /// that is known and nothing slow happened afterwards. Raises what ends the worker, and `Deferred` if the call
    /// continues on the event loop.
    fn answer_in_context(
        &mut self,
        slice: &mut TimeSlice<'py>,
        call: &Call,
        form: ResponseEncoder,
        function: FunctionId,
        plan: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Instant>> {
        let entered = CallContext::enter(
            self.py,
            &mut slice.spare,
            &mut self.placeholder,
            self.core,
            slice.connection_id,
            &call.metadata,
        );
        match entered {
            Ok(mut context) => {
                let ended = self.answer(&mut context, slice, call, form, function, plan);
                context.leave(&mut slice.spare);
                ended
            }
            Err(error) if ends_worker(self.py, &error) => Err(error),
            Err(error) => {
                let name = self.functions.about(function).name.clone();
                self.fail(form, call.id, &name, None, &error)?;
                Ok(None)
            }
        }
    }

    fn answer(
        &mut self,
        context: &mut CallContext<'py>,
        slice: &mut TimeSlice<'py>,
        call: &Call,
        form: ResponseEncoder,
        function: FunctionId,
        plan: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Instant>> {
        let py = self.py;
        let package = &self.core.package;
        let mut timer = None;
        let result = answers::argument(py, package, &mut self.keys, call.codec, &call.body)
            .and_then(|argument| {
                if call.body.len() >= LARGE {
                    slice.large_values.push(argument.clone());
                }
                timer = call.wants_times.then(|| self.clock.start());
                self.call(context, function, plan, &argument)
            });
        let ended = timer.as_ref().map(|_| Instant::now());
        let times = timer.zip(ended).map(|(timer, ended)| timer.times(ended));
        if self.core.forks.has_forked() {
            return Err(package.leave(py, result.as_ref().err()));
        }
        let start = self.answers.len();
        let written = result.and_then(|result| {
            let written = answers::write_result(
                package,
                form,
                call.id,
                call.codec,
                times,
                &result,
                &mut self.answers,
            );
            if self.answers.len() - start >= LARGE {
                slice.large_values.push(result);
            }
            written
        });
        let is_short = self.answers.len() - start < LARGE;
        match written {
            Ok(()) => Ok(ended.filter(|_| is_short)),
            Err(error) if ends_worker(py, &error) || package.is_deferred(py, &error) => Err(error),
            Err(error) => {
                let name = self.functions.about(function).name.clone();
                self.fail(form, call.id, &name, times, &error)?;
                Ok(None)
            }
        }
    }

    /// Runs a plain function.
    fn call(
        &self,
        context: &mut CallContext<'py>,
        function: FunctionId,
        plan: &Bound<'py, PyAny>,
        argument: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let function = self.functions.about(function);
        if !function.cancellable {
            return context.run(&function.text, plan, argument);
        }
        let event = self.core.package.event(self.py)?;
        let start = self.core.package.with_event(plan.clone(), &event)?;
        self.core.lock().set_event(Arc::new(event.unbind()));
        context.run(&function.text, &start, argument)
    }

    // `async def` functions

    /// Prepares a call for the event loop.
    fn prepare_async(
        &mut self,
        slice: &mut TimeSlice<'py>,
        call: Call,
        form: ResponseEncoder,
        function: FunctionId,
        plan: Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let connection_id = slice.connection_id;
        let channel = self.core.lock().channel(connection_id);
        let about = self.functions.about(function);
        let id = call.id;
        let (keys, channel) = (&mut self.keys, channel.as_ref());
        match async_calls::prepare(self.core, keys, connection_id, channel, call, about, plan) {
            Ok(prepared) => slice.prepared.push(prepared),
            Err(error) => {
                let name = about.name.clone();
                self.fail(form, id, &name, None, &error)?;
            }
        }
        Ok(())
    }

    fn submit(&mut self, slice: &mut TimeSlice<'py>) -> PyResult<()> {
        match mem::take(&mut slice.prepared) {
            calls if calls.is_empty() => Ok(()),
            calls => async_calls::submit(self.py, self.core, calls),
        }
    }

    // Errors

    fn fail(
        &mut self,
        form: ResponseEncoder,
        id: u64,
        method: &str,
        times: Option<Times>,
        error: &PyErr,
    ) -> PyResult<()> {
        let (py, package) = (self.py, &self.core.package);
        let out = &mut self.answers;
        let failed = || FailedRequest { id, method, times };
        match answers::write_failure(py, package, form, failed(), error, out) {
            // A signal's handler or another thread raised it while the answer was written.
            Err(stray) if !ends_worker(py, &stray) => {
                answers::write_failure(py, package, form, failed(), &stray, out)
            }
            written => written,
        }
    }
}
