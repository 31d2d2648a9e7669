//! A connection's turn: its requests run one after another, then their answers leave together.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pyo3::prelude::*;
use pyproc_protocol::AnswerForm;
use pyproc_protocol::v2::Times;

use super::Server;
use crate::ffi::SpareContext;
use crate::package::{FunctionId, ends_worker};
use crate::run::answers::{self, Failed};
use crate::run::context::OwnContext;
use crate::run::{async_calls, hello};
use crate::state::{NO_FUNCTION, Next, Place};
use crate::transport::{Call, Target, Waiting};

/// Answers that are kept in memory between turns.
const KEPT: usize = 256 * 1024;

/// Bytes from which on an argument or a result is freed only after the answers have left, since
/// that takes long.
const LARGE: usize = 8 * 1024;

/// What a turn has come to.
struct Turn<'py> {
    place: Place,
    submitted: Vec<async_calls::Prepared<'py>>,
    is_first: bool,
    roused: bool,
    spare: SpareContext<'py>,
    /// Large values that the functions took and returned.
    spent: Vec<Bound<'py, PyAny>>,
}

/// What became of a request.
enum Step {
    Done,
    /// It is not quick, so earlier answers go first.
    Later(Call),
}

impl<'py> Server<'_, 'py> {
    /// Runs requests of a connection for about `TURN` of `_limits.py`, then sends their answers.
    pub(crate) fn take_turn(&mut self, place: Place) -> PyResult<()> {
        let mut turn = Turn {
            place,
            submitted: Vec::new(),
            is_first: true,
            roused: false,
            spare: SpareContext::default(),
            spent: Vec::new(),
        };
        let ended = self.run_requests(&mut turn);
        self.core.pulse.end();
        let mut state = self.core.lock();
        let running = state.stop_running();
        if let Some(connection) = state.get(place) {
            connection.outgoing.append(&mut self.answers);
        }
        drop(state);
        drop(running);
        self.answers.clear();
        self.answers.shrink_to(KEPT);
        self.outlive(ended)?;
        self.submit(&mut turn)?;
        self.settle(place)
    }

    fn submit(&mut self, turn: &mut Turn<'py>) -> PyResult<()> {
        match mem::take(&mut turn.submitted) {
            calls if calls.is_empty() => Ok(()),
            calls => async_calls::submit(self.py, self.core, calls),
        }
    }

    fn run_requests(&mut self, turn: &mut Turn<'py>) -> PyResult<()> {
        let started = Instant::now();
        let mut now = started;
        while now - started < self.core.limits.turn {
            let next = self.core.lock().start_next(turn.place);
            let Some(Next { waiting, form, .. }) = next else {
                break;
            };
            match waiting {
                Waiting::Call(call) => {
                    if let Step::Later(call) = self.start(turn, call, form, &mut now)? {
                        self.core.lock().put_back(turn.place, Waiting::Call(call));
                        break;
                    }
                }
                Waiting::Hello(greeting) => {
                    self.stand_in.leave(self.py)?; // threads may begin with it
                    let out = &mut self.answers;
                    hello::answer(
                        self.py,
                        self.core,
                        &mut self.functions,
                        turn.place,
                        &greeting,
                        out,
                    )?;
                }
            }
            turn.is_first = false;
        }
        Ok(())
    }

    fn start(
        &mut self,
        turn: &mut Turn<'py>,
        call: Call,
        form: AnswerForm,
        now: &mut Instant,
    ) -> PyResult<Step> {
        let (id, found) = (call.id, self.find(turn.place, &call.target)?);
        let Some(function) = found else {
            let name = match &call.target {
                Target::Name(name) => name.clone(),
                Target::Index(index) => format!("#{index}"),
                Target::Function(_) => String::new(),
            };
            let error = self.core.package.error(self.py, "MethodNotFound", (&name,));
            self.fail(form, id, &name, None, &error)?;
            return Ok(Step::Done);
        };
        let (about, plan) = self.functions.get(self.py, function)?;
        if about.concurrent {
            self.begin(turn, call, form, function, plan)?;
            return Ok(Step::Done);
        }
        if !about.quick && !turn.is_first {
            return Ok(Step::Later(call));
        }
        self.submit(turn)?;
        self.core.pulse.begin();
        if !turn.roused {
            turn.roused = true;
            self.core.pulse.rouse();
        }
        self.core.function.store(function.0, Ordering::Relaxed);
        let ended = self.answer_within(turn, &call, form, function, &plan);
        self.core.function.store(NO_FUNCTION, Ordering::Relaxed);
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let rest = self.core.package.deferred(self.py, error)?;
                self.begin(turn, call, form, function, rest)?;
                return Ok(Step::Done);
            }
        };
        let before = mem::replace(now, ended.unwrap_or_else(Instant::now));
        self.functions.get_mut(function).quick = *now - before < self.core.limits.quick;
        Ok(Step::Done)
    }

    fn find(&mut self, place: Place, target: &Target) -> PyResult<Option<FunctionId>> {
        match target {
            Target::Function(id) => Ok(Some(*id)),
            Target::Name(name) => self.functions.find(self.py, &self.core.package, name),
            // The table may be younger than the request, which came in the hello's own write.
            Target::Index(index) => Ok(self
                .with(place, |connection| {
                    let listed = connection.table.get(usize::from(*index));
                    listed.map(|listed| listed.id)
                })
                .flatten()),
        }
    }

    /// Runs a plain function and writes its answer, in a context of the call's own. Returns when the function ended, if
    /// that is known and nothing took long since. Raises what ends the worker, and `Deferred` if the call goes on on the
    /// event loop.
    fn answer_within(
        &mut self,
        turn: &mut Turn<'py>,
        call: &Call,
        form: AnswerForm,
        function: FunctionId,
        plan: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Instant>> {
        let (stand_in, place) = (&mut self.stand_in, turn.place);
        match OwnContext::enter(
            self.py,
            &mut turn.spare,
            stand_in,
            self.core,
            place,
            &call.known,
        ) {
            Ok(mut context) => {
                let ended = self.answer(&mut context, turn, call, form, function, plan);
                context.leave(&mut turn.spare);
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
        context: &mut OwnContext<'py>,
        turn: &mut Turn<'py>,
        call: &Call,
        form: AnswerForm,
        function: FunctionId,
        plan: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Instant>> {
        let py = self.py;
        let package = &self.core.package;
        let mut watch = None;
        let result = answers::argument(py, package, &mut self.keys, call.codec, &call.body)
            .and_then(|body| {
                if call.body.len() >= LARGE {
                    turn.spent.push(body.clone());
                }
                watch = call.wants_times.then(|| self.clocks.start());
                self.call(context, function, plan, &body)
            });
        let ended = watch.as_ref().map(|_| Instant::now());
        let times = watch.zip(ended).map(|(watch, ended)| watch.times(ended));
        if self.core.forks.has_forked() {
            return Err(package.leave(py, result.as_ref().err()));
        }
        let start = self.answers.len();
        let written = result.and_then(|result| {
            let written = answers::success(
                package,
                form,
                call.id,
                call.codec,
                times,
                &result,
                &mut self.answers,
            );
            if self.answers.len() - start >= LARGE {
                turn.spent.push(result);
            }
            written
        });
        let is_short = self.answers.len() - start < LARGE;
        match written {
            Ok(()) => Ok(ended.filter(|_| is_short)),
            Err(error) if ends_worker(py, &error) || package.is_deferred(py, &error) => Err(error),
            Err(error) => {
                let name = self.functions.get_mut(function).name.clone();
                self.fail(form, call.id, &name, times, &error)?;
                Ok(None)
            }
        }
    }

    /// Runs a plain function.
    fn call(
        &self,
        context: &mut OwnContext<'py>,
        function: FunctionId,
        plan: &Bound<'py, PyAny>,
        body: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let function = self.functions.about(function);
        if !function.cancellable {
            return context.run(&function.text, plan, body);
        }
        let event = self.core.package.event(self.py)?;
        let start = self.core.package.with_event(plan.clone(), &event)?;
        self.core.lock().set_event(Arc::new(event.unbind()));
        context.run(&function.text, &start, body)
    }

    /// Prepares a call of an `async def` function.
    fn begin(
        &mut self,
        turn: &mut Turn<'py>,
        call: Call,
        form: AnswerForm,
        function: FunctionId,
        plan: Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let client = self.core.lock().client(turn.place);
        let about = self.functions.get_mut(function);
        let id = call.id;
        let keys = &mut self.keys;
        match async_calls::prepare(self.core, keys, turn.place, &client, call, about, plan) {
            Ok(prepared) => turn.submitted.push(prepared),
            Err(error) => {
                let name = about.name.clone();
                self.fail(form, id, &name, None, &error)?;
            }
        }
        Ok(())
    }

    fn fail(
        &mut self,
        form: AnswerForm,
        id: u64,
        method: &str,
        times: Option<Times>,
        error: &PyErr,
    ) -> PyResult<()> {
        let (py, package) = (self.py, &self.core.package);
        let out = &mut self.answers;
        let failed = || Failed { id, method, times };
        match answers::failure(py, package, form, failed(), error, out) {
            // A signal's handler or another thread raised it meanwhile.
            Err(stray) if !ends_worker(py, &stray) => {
                answers::failure(py, package, form, failed(), &stray, out)
            }
            told => told,
        }
    }
}
