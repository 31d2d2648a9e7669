//! What needs the interpreter lock while a function runs: telling functions that they were given
//! up, and starting `async def` functions. A thread of its own does it, so that pings are answered
//! meanwhile.
//!
//! A function may keep the lock for long, so what waits for the thread is bounded: beyond
//! [`HEAVIEST`], requests stay with their connection, which stops reading in time, and functions to
//! be told are collected, each once.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use pyo3::prelude::*;
use pyproc_protocol::Greeting;

use crate::package::Functions;
use crate::run::answers::{self, Failed};
use crate::run::{async_calls, hello};
use crate::state::{Core, GivenUp, Place};
use crate::transport::{Call, Client, Target, Waiting};
use crate::types::json::Keys;

/// Bytes of errands that wait, beyond which no requests are added.
const HEAVIEST: usize = 4 * 1024 * 1024;

/// Bytes of an errand, and of a call besides its body, about.
const OVERHEAD: usize = 512;

/// What came of reading a connection.
pub(crate) struct Errand {
    pub(crate) place: Place,
    pub(crate) given_up: GivenUp,
    /// Calls of `async def` functions.
    pub(crate) calls: Vec<Call>,
    pub(crate) client: Client,
    /// A hello to answer.
    pub(crate) greeting: Option<Greeting>,
}

impl Errand {
    fn nothing(place: Place) -> Self {
        Self {
            place,
            given_up: GivenUp::default(),
            calls: Vec::new(),
            client: Client::default(),
            greeting: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.given_up.is_empty() && self.calls.is_empty() && self.greeting.is_none()
    }

    fn weight(&self) -> usize {
        let calls = self.calls.iter().map(|call| OVERHEAD + call.body.len());
        OVERHEAD + calls.sum::<usize>()
    }
}

/// The thread, once there is something to do. It ends with this value.
pub(crate) struct Errands {
    core: Arc<Core>,
    thread: Option<(Sender<Errand>, JoinHandle<()>)>,
    /// What waits for the thread.
    weight: Arc<AtomicUsize>,
    /// Functions to be told when less waits.
    left: Option<Errand>,
}

impl Errands {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self {
            core: Arc::clone(core),
            thread: None,
            weight: Arc::default(),
            left: None,
        }
    }

    /// Whether so much waits that errands with requests are not to be sent.
    pub(crate) fn are_many(&self) -> bool {
        self.weight.load(Ordering::Acquire) > HEAVIEST
    }

    pub(crate) fn send(&mut self, mut errand: Errand) {
        if self.are_many() {
            let given_up = mem::take(&mut errand.given_up);
            let left = self
                .left
                .get_or_insert_with(|| Errand::nothing(errand.place));
            left.given_up.merge(given_up);
        }
        if !errand.is_empty() {
            self.hand_over(errand);
        }
    }

    /// Sends what was collected while too much waited.
    pub(crate) fn send_left(&mut self) {
        if let Some(left) = self.left.take() {
            self.hand_over(left);
        }
    }

    fn hand_over(&mut self, errand: Errand) {
        if self.thread.is_none() {
            let (sender, receiver) = channel();
            let (core, weight) = (Arc::clone(&self.core), Arc::clone(&self.weight));
            let builder = thread::Builder::new().name("pyproc-errands".into());
            // Without a thread, clients wait longer for what was asked, that is all.
            let Ok(thread) = builder.spawn(move || run(&core, &receiver, &weight)) else {
                self.left = Some(Errand {
                    given_up: errand.given_up,
                    ..Errand::nothing(errand.place)
                });
                let mut state = self.core.lock();
                state.put_back_concurrent(errand.place, errand.calls);
                if let Some(greeting) = errand.greeting {
                    state.put_back_greeting(errand.place, greeting);
                }
                return;
            };
            self.thread = Some((sender, thread));
        }
        if let Some((sender, _)) = &self.thread {
            self.weight.fetch_add(errand.weight(), Ordering::AcqRel);
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

fn run(core: &Arc<Core>, errands: &Receiver<Errand>, weight: &AtomicUsize) {
    let (mut functions, mut keys) = (Functions::default(), Keys::new());
    for errand in errands {
        let done = errand.weight();
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
                &errand.client,
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
                    connection.held = false;
                    // A client that is gone is seen by who waits for it.
                    let _ = connection.flush();
                }
            }
            core.lock().have_begun(errand.place, count);
            core.wake();
        });
        weight.fetch_sub(done, Ordering::AcqRel);
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
    client: &Client,
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
        match async_calls::prepare(core, keys, place, client, call, function, plan) {
            Ok(call) => prepared.push(call),
            Err(error) => {
                let form = core.answer_form(place, version);
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
        async_calls::submit(py, core, prepared)?;
    }
    if let Some(connection) = core.lock().get(place) {
        connection.outgoing.append(&mut failures);
    }
    Ok(())
}
