//! What the threads of a worker share, behind one lock.
//!
//! Whoever holds the lock neither waits for the interpreter lock nor runs Python code (which might
//! let another thread take it): the thread that has the interpreter lock may be waiting for this
//! one.

mod accept;
mod activity;
pub(crate) mod fork;

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::mem;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::prelude::*;
use pyproc_protocol::v2::{Codec, Failure};
use pyproc_protocol::{AnswerForm, Greeting, Version};

pub(crate) use self::accept::accept;
pub(crate) use self::activity::Pulse;
use crate::package::Limits;
use crate::package::Package;
use crate::transport::{Call, Cancellations, Client, Connection, Known, Waiting};
use crate::transport::{Peers, Refused};

/// In place of a function's number: none runs.
pub(crate) const NO_FUNCTION: usize = usize::MAX;

/// A worker.
pub(crate) struct Core {
    pub(crate) package: Package,
    pub(crate) limits: Limits,
    pub(crate) max_frame_size: usize,
    pub(crate) peers: Peers,
    pub(crate) pulse: Pulse,
    pub(crate) forks: fork::Count,
    pub(crate) event_loop: OnceLock<Py<PyAny>>,
    serving: ThreadId,
    /// The plain function that runs, or [`NO_FUNCTION`]. Only the serving thread looks.
    pub(crate) function: AtomicUsize,
    state: Mutex<State>,
    wake: UnixStream,
    woken: AtomicBool,
}

impl Core {
    /// A worker whose serving thread is this one.
    pub(crate) fn new(
        package: Package,
        limits: Limits,
        max_frame_size: usize,
        cancelled: Failure,
        peers: Peers,
        wake: UnixStream,
    ) -> Self {
        Self {
            package,
            limits,
            max_frame_size,
            peers,
            pulse: Pulse::new(),
            forks: fork::count(),
            event_loop: OnceLock::new(),
            serving: thread::current().id(),
            function: AtomicUsize::new(NO_FUNCTION),
            state: Mutex::new(State::new(cancelled)),
            wake,
            woken: AtomicBool::new(false),
        }
    }

    /// Whether this is the serving thread.
    pub(crate) fn is_serving(&self) -> bool {
        thread::current().id() == self.serving
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a request is answered that came on a connection. Nobody reads what is written for one that is gone.
    pub(crate) fn answer_form(&self, place: Place, version: Version) -> AnswerForm {
        let mut state = self.lock();
        let connection = state.get(place);
        connection.map_or_else(
            || AnswerForm::new(version, false, self.max_frame_size),
            |connection| connection.session.answer_form(version),
        )
    }

    /// Makes the serving thread look at everything anew.
    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // It can only fail because so much is in it that the thread wakes anyway.
            let _ = (&self.wake).write(&[1]);
        }
    }

    /// The serving thread is awake.
    pub(crate) fn on_woken(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Tells functions that nobody waits for them any more.
    pub(crate) fn tell(&self, py: Python<'_>, given_up: GivenUp) {
        for event in given_up.events {
            let set = event.bind(py).call_method0("set");
            set.err()
                .into_iter()
                .for_each(|error| error.write_unraisable(py, None));
        }
        for token in given_up.tokens {
            let Some(event_loop) = self.event_loop.get() else {
                continue;
            };
            let told = event_loop.bind(py).call_method1("cancel", (token,));
            told.err()
                .into_iter()
                .for_each(|error| error.write_unraisable(py, None));
        }
    }
}

/// Where a connection is; never that of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    index: usize,
    serial: u64,
}

/// Functions that were given up: the events to set, the tokens of calls on the event loop.
#[derive(Default)]
pub(crate) struct GivenUp {
    pub(crate) events: Vec<Arc<Py<PyAny>>>,
    pub(crate) tokens: Vec<u64>,
}

impl GivenUp {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.tokens.is_empty()
    }

    /// Adds what `other` has and this has not.
    pub(crate) fn merge(&mut self, other: Self) {
        for event in other.events {
            if !self.events.iter().any(|known| Arc::ptr_eq(known, &event)) {
                self.events.push(event);
            }
        }
        for token in other.tokens {
            if !self.tokens.contains(&token) {
                self.tokens.push(token);
            }
        }
    }
}

/// The plain function that runs.
pub(crate) struct Running {
    place: Place,
    id: u64,
    event: Option<Arc<Py<PyAny>>>,
    known: Known,
}

/// What a connection's turn goes on with.
pub(crate) struct Next {
    pub(crate) waiting: Waiting,
    /// How it is answered.
    pub(crate) form: AnswerForm,
    /// What ran before; dropped here, without the lock.
    _before: Option<Running>,
}

/// A call on the event loop.
pub(crate) struct ConcurrentCall {
    pub(crate) place: Place,
    pub(crate) id: u64,
    pub(crate) version: Version,
    pub(crate) codec: Codec,
    pub(crate) method: String,
    /// Bytes that it takes.
    pub(crate) size: usize,
    pub(crate) event: Option<Arc<Py<PyAny>>>,
    /// Its `Stopwatch`.
    pub(crate) watch: Option<Py<PyAny>>,
}

pub(crate) struct State {
    connections: Vec<Option<(u64, Connection)>>,
    serial: u64,
    running: Option<Running>,
    calls: HashMap<u64, ConcurrentCall>,
    last_token: u64,
    /// Connections that answers of the event loop wait to be sent to.
    pub(crate) unsent: Vec<Place>,
    pub(crate) draining: bool,
    /// Connections that the serving thread does not wait for yet.
    pub(crate) accepted: Vec<Place>,
    pub(crate) refused: Refused,
    /// What ends the worker: a coroutine raised it.
    pub(crate) exit: Option<PyErr>,
    /// What requests are answered with that were cancelled before they started.
    cancelled: Arc<Failure>,
    /// The functions that are `async def`, as far as it is known without the interpreter lock.
    pub(crate) concurrent_names: Arc<HashSet<String>>,
}

impl State {
    fn new(cancelled: Failure) -> Self {
        Self {
            connections: Vec::new(),
            serial: 0,
            running: None,
            calls: HashMap::new(),
            last_token: 0,
            unsent: Vec::new(),
            draining: false,
            accepted: Vec::new(),
            refused: Refused::default(),
            exit: None,
            cancelled: Arc::new(cancelled),
            concurrent_names: Arc::default(),
        }
    }

    pub(crate) fn add(&mut self, connection: Connection) -> Place {
        self.serial += 1;
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[index] = Some((self.serial, connection));
        Place {
            index,
            serial: self.serial,
        }
    }

    pub(crate) fn get(&mut self, place: Place) -> Option<&mut Connection> {
        match self.connections.get_mut(place.index) {
            Some(Some((serial, connection))) if *serial == place.serial => Some(connection),
            _ => None,
        }
    }

    pub(crate) fn connections(&mut self) -> impl Iterator<Item = (Place, &mut Connection)> {
        let slots = self.connections.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| {
            let (serial, connection) = slot.as_mut()?;
            Some((
                Place {
                    index,
                    serial: *serial,
                },
                connection,
            ))
        })
    }

    /// Takes a connection out, and gives up what it still wanted.
    pub(crate) fn remove(&mut self, place: Place) -> (Option<Connection>, GivenUp) {
        if self.get(place).is_none() {
            return (None, GivenUp::default());
        }
        let given_up = self.give_up(place, |_| true);
        let connection = self.connections[place.index].take();
        (connection.map(|(_, connection)| connection), given_up)
    }

    /// Reads from a connection. Its requests that were cancelled are answered, or their functions
    /// are to be told.
    pub(crate) fn receive(
        &mut self,
        py: Option<Python<'_>>,
        place: Place,
    ) -> (io::Result<()>, GivenUp) {
        let failure = Arc::clone(&self.cancelled);
        let mut cancellations = Cancellations {
            failure: &failure,
            started: Vec::new(),
        };
        let Some(connection) = self.get(place) else {
            return (Ok(()), GivenUp::default());
        };
        let received = connection.receive(py, &mut cancellations);
        let given_up = match &cancellations.started[..] {
            [] => GivenUp::default(),
            started => self.give_up(place, |id| started.contains(&id)),
        };
        (received, given_up)
    }

    /// The functions that run for a connection's requests of certain ids.
    pub(crate) fn give_up(&self, place: Place, ids: impl Fn(u64) -> bool) -> GivenUp {
        let mut given_up = GivenUp::default();
        if let Some(running) = &self.running
            && running.place == place
            && ids(running.id)
        {
            given_up.events.extend(running.event.clone());
        }
        for (token, call) in &self.calls {
            if call.place == place && ids(call.id) {
                given_up.events.extend(call.event.clone());
                given_up.tokens.push(*token);
            }
        }
        given_up
    }

    /// The next request of a connection, which counts as running from now on.
    pub(crate) fn start_next(&mut self, place: Place) -> Option<Next> {
        let connection = self.get(place)?;
        let waiting = match connection.waiting_concurrent.pop_front() {
            Some(call) => Waiting::Call(call),
            None if connection.held => return None,
            None => connection.waiting.pop_front()?,
        };
        let version = match &waiting {
            Waiting::Call(call) => call.version,
            Waiting::Hello(_) => Version::V1,
        };
        let form = connection.session.answer_form(version);
        let running = match &waiting {
            Waiting::Call(call) => Some(Running {
                place,
                id: call.id,
                event: None,
                known: call.known.clone(),
            }),
            Waiting::Hello(_) => None,
        };
        Some(Next {
            waiting,
            form,
            _before: mem::replace(&mut self.running, running),
        })
    }

    /// What may be known of the plain function's call that runs, if anything.
    pub(crate) fn known_of_running(&mut self) -> Option<(Known, Client)> {
        let running = self.running.as_ref()?;
        let (place, known) = (running.place, running.known.clone());
        let client = self.client(place);
        let is_something = client.channel.is_some() || !known.is_nothing();
        is_something.then_some((known, client))
    }

    /// What calls need to know of a client.
    pub(crate) fn client(&mut self, place: Place) -> Client {
        let connection = self.get(place);
        connection.map_or_else(Client::default, |connection| connection.client.clone())
    }

    /// Takes out the requests of a connection that the event loop can start at once, and whose
    /// they are. They count as running until `have_begun`.
    pub(crate) fn take_concurrent(&mut self, place: Place) -> (Vec<Call>, Client) {
        let Some(connection) = self.get(place) else {
            return (Vec::new(), Client::default());
        };
        let calls: Vec<Call> = connection.waiting_concurrent.drain(..).collect();
        connection.concurrent += calls.len();
        (calls, connection.client.clone())
    }

    /// So many calls that were taken out have been begun, put back or answered.
    pub(crate) fn have_begun(&mut self, place: Place, count: usize) {
        if let Some(connection) = self.get(place) {
            connection.concurrent -= count;
        }
    }

    /// The request that was started last did not start after all.
    pub(crate) fn put_back(&mut self, place: Place, waiting: Waiting) {
        self.running = None;
        if let Some(connection) = self.get(place) {
            connection.waiting.push_front(waiting);
        }
    }

    /// Calls that were taken out did not start after all.
    pub(crate) fn put_back_concurrent(&mut self, place: Place, calls: Vec<Call>) {
        if let Some(connection) = self.get(place) {
            connection.concurrent -= calls.len();
            connection.waiting_concurrent.extend(calls);
        }
    }

    /// A hello that was taken out is not answered yet.
    pub(crate) fn put_back_greeting(&mut self, place: Place, greeting: Greeting) {
        if let Some(connection) = self.get(place) {
            connection.held = false;
            connection.waiting.push_front(Waiting::Hello(greeting));
        }
    }

    /// A call that was taken out is one of a plain function.
    pub(crate) fn put_back_plain(&mut self, place: Place, call: Waiting) {
        if let Some(connection) = self.get(place) {
            connection.waiting.push_back(call);
        }
    }

    /// The function that runs takes a `cancel_event`.
    pub(crate) fn set_event(&mut self, event: Arc<Py<PyAny>>) {
        if let Some(running) = &mut self.running {
            running.event = Some(event);
        }
    }

    /// No plain function runs. What is returned is to be dropped without the lock.
    #[must_use]
    pub(crate) fn stop_running(&mut self) -> Option<Running> {
        self.running.take()
    }

    /// Enters a call on the event loop; its token.
    pub(crate) fn begin_concurrent(&mut self, call: ConcurrentCall) -> u64 {
        if let Some(connection) = self.get(call.place) {
            connection.concurrent += 1;
            connection.concurrent_bytes += call.size;
            connection.held |= call.id == 0;
        }
        self.last_token += 1;
        self.calls.insert(self.last_token, call);
        self.last_token
    }

    pub(crate) fn end_concurrent(&mut self, token: u64) -> Option<ConcurrentCall> {
        let call = self.calls.remove(&token)?;
        if let Some(connection) = self.get(call.place) {
            connection.concurrent -= 1;
            connection.concurrent_bytes -= call.size;
        }
        Some(call)
    }

    /// Whether every connection has got all that it is due.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.connections()
            .all(|(_, connection)| connection.is_idle())
    }

    /// Whether calls run on the event loop for somebody who still waits.
    pub(crate) fn has_concurrent(&mut self) -> bool {
        self.connections()
            .any(|(_, connection)| connection.concurrent > 0)
    }
}
