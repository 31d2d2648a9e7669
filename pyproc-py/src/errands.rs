//! What needs the interpreter lock while a function runs: telling functions that they were given up, and starting `async def`
//! functions. A thread of its own does it, so that pings are answered meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use pyo3::prelude::*;

use crate::answers::{self, Failed};
use crate::connection::{Call, Form, Greeting, Target, Waiting};
use crate::functions::Functions;
use crate::json::Keys;
use crate::state::{Core, GivenUp, Place};
use crate::{concurrent, hello};

/// What came of reading a connection.
pub(crate) struct Errand {
    pub(crate) place: Place,
    pub(crate) given_up: GivenUp,
    /// Calls of `async def` functions.
    pub(crate) calls: Vec<Call>,
    /// Their client wants details of errors.
    pub(crate) details: bool,
    /// A hello to answer.
    pub(crate) greeting: Option<Greeting>,
}

/// The thread, once there is something to do. It ends with this value.
pub(crate) struct Errands {
    core: Arc<Core>,
    thread: Option<(Sender<Errand>, JoinHandle<()>)>,
}

impl Errands {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self {
            core: Arc::clone(core),
            thread: None,
        }
    }

    pub(crate) fn send(&mut self, errand: Errand) {
        if errand.given_up.is_empty() && errand.calls.is_empty() && errand.greeting.is_none() {
            return;
        }
        if self.thread.is_none() {
            let (sender, receiver) = channel();
            let core = Arc::clone(&self.core);
            let builder = thread::Builder::new().name("pyproc-errands".into());
            // Without a thread, clients wait longer for what was asked, that is all.
            let Ok(thread) = builder.spawn(move || run(&core, &receiver)) else {
                return self
                    .core
                    .lock()
                    .put_back_concurrent(errand.place, errand.calls);
            };
            self.thread = Some((sender, thread));
        }
        if let Some((sender, _)) = &self.thread {
            // The thread ends only with the sender.
            let _ = sender.send(errand);
        }
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            // It ends by itself even if it panicked.
            let _ = thread.join();
        }
    }
}

fn run(core: &Arc<Core>, errands: &Receiver<Errand>) {
    let (mut functions, mut keys) = (Functions::default(), Keys::new());
    for errand in errands {
        Python::attach(|py| {
            core.tell(py, errand.given_up);
            let count = errand.calls.len();
            let started = start(
                py,
                core,
                &mut functions,
                &mut keys,
                errand.place,
                errand.calls,
                errand.details,
            );
            if let Err(error) = started {
                error.write_unraisable(py, None);
            }
            if let Some(greeting) = errand.greeting {
                let mut out = Vec::new();
                let answered =
                    hello::answer(py, core, &mut functions, errand.place, &greeting, &mut out);
                if let Err(error) = answered {
                    error.write_unraisable(py, None);
                }
                if let Some(connection) = core.lock().get(errand.place) {
                    connection.outgoing.append(&mut out);
                    // A client that is gone is seen by who waits for it.
                    let _ = connection.flush();
                }
            }
            core.lock().have_begun(errand.place, count);
            core.wake();
        });
    }
    Python::attach(|_| drop((functions, keys)));
}

fn start(
    py: Python<'_>,
    core: &Arc<Core>,
    functions: &mut Functions,
    keys: &mut Keys,
    place: Place,
    calls: Vec<Call>,
    details: bool,
) -> PyResult<()> {
    let mut prepared = Vec::new();
    let mut failures = Vec::new();
    for call in calls {
        let Target::Name(name) = &call.target else {
            continue;
        };
        let Some(id) = functions.find(py, &core.package, name)? else {
            continue;
        };
        let (function, plan) = functions.get(py, id)?;
        if !function.concurrent {
            // Another function has taken its name.
            core.lock().put_back_plain(place, Waiting::Call(call));
            continue;
        }
        let (version, id) = (call.version, call.id);
        match concurrent::prepare(core, keys, place, call, function, plan) {
            Ok(call) => prepared.push(call),
            Err(error) => {
                let form = Form {
                    version,
                    details,
                    max_frame_size: core.max_frame_size,
                };
                let failed = Failed {
                    id,
                    method: &function.name,
                    times: None,
                };
                answers::failure(py, &core.package, form, failed, &error, &mut failures)?;
            }
        }
    }
    if !prepared.is_empty() {
        concurrent::submit(py, core, prepared)?;
    }
    if let Some(connection) = core.lock().get(place) {
        connection.outgoing.append(&mut failures);
    }
    Ok(())
}
