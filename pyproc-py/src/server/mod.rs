//! The serving thread: it waits for sockets, reads them, and runs one plain function at a time.
//!
//! What has arrived on a connection is read at once, its requests run one after another, and their
//! answers leave in one write. A turn ends after fifty microseconds, so that the client works on
//! the first answers while the worker runs the next requests, and before a function that was not
//! quick when it last ran, so that no answer waits behind it.

mod accepting;
mod ending;
mod spin;
mod turn;
mod waiting;

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PySystemExit;
use pyo3::intern;
use pyo3::prelude::*;
use rustix::event::PollFlags;

pub(crate) use self::ending::end;
use self::spin::Spin;
use self::waiting::Happened;
use crate::package::Functions;
use crate::package::ends_worker;
use crate::run::answers::Clocks;
use crate::run::context::StandIn;
use crate::run::hello;
use crate::state::{Core, GivenUp, Place, State};
use crate::transport::Connection;
use crate::types::json::Keys;

const GONE: PollFlags = PollFlags::HUP.union(PollFlags::ERR).union(PollFlags::NVAL);

/// What the serving thread alone knows.
pub(crate) struct Server<'a, 'py> {
    pub(crate) py: Python<'py>,
    pub(crate) core: &'a Arc<Core>,
    pub(crate) functions: Functions,
    pub(crate) keys: Keys,
    pub(crate) clocks: Clocks,
    pub(crate) stand_in: StandIn,
    /// Answers of the turn.
    pub(crate) answers: Vec<u8>,
    listener: BorrowedFd<'a>,
    termination: Bound<'py, PyAny>,
    termination_fd: BorrowedFd<'a>,
    wake: &'a UnixStream,
    parent_pid: Option<u32>,
    spin: Spin,
    /// See `_unpatched.py`.
    wait_with_greenlets: Option<Bound<'py, PyAny>>,
    connections: Vec<Polled>,
    ready: VecDeque<Place>,
    deaf: bool,
    flush_deadline: Instant,
    /// The event loop had calls when a worker that drains looked last.
    ran_concurrent: bool,
}

/// A connection as it is waited for.
struct Polled {
    place: Place,
    socket: Arc<OwnedFd>,
    interest: PollFlags,
}

/// What a worker waits for besides its clients.
pub(crate) struct Sources<'a, 'py> {
    pub(crate) listener: BorrowedFd<'a>,
    pub(crate) termination: Bound<'py, PyAny>,
    pub(crate) termination_fd: BorrowedFd<'a>,
    pub(crate) wake: &'a UnixStream,
    pub(crate) parent_pid: Option<u32>,
    pub(crate) wait_with_greenlets: Option<Bound<'py, PyAny>>,
}

impl<'a, 'py> Server<'a, 'py> {
    pub(crate) fn new(
        py: Python<'py>,
        core: &'a Arc<Core>,
        sources: Sources<'a, 'py>,
        spin: Duration,
    ) -> Self {
        Self {
            py,
            core,
            functions: Functions::default(),
            keys: Keys::new(),
            clocks: Clocks::default(),
            stand_in: StandIn::default(),
            answers: Vec::new(),
            listener: sources.listener,
            termination: sources.termination,
            termination_fd: sources.termination_fd,
            wake: sources.wake,
            parent_pid: sources.parent_pid,
            spin: Spin::new(spin, core.limits),
            wait_with_greenlets: sources.wait_with_greenlets,
            connections: Vec::new(),
            ready: VecDeque::new(),
            deaf: false,
            flush_deadline: Instant::now(),
            ran_concurrent: false,
        }
    }

    /// Serves until SIGTERM, the owner's end or the parent's, then finishes what there is.
    pub(crate) fn serve(&mut self) -> PyResult<()> {
        let ended = self.run();
        let says_goodbye = match &ended {
            Ok(()) => Instant::now() < self.flush_deadline, // the clients do read
            Err(error) => error.is_instance_of::<PySystemExit>(self.py),
        };
        if says_goodbye {
            self.say_goodbye()?;
        }
        for place in self.places() {
            self.close(place)?;
        }
        ended
    }

    fn run(&mut self) -> PyResult<()> {
        hello::list(self.py, self.core, &mut self.functions)?;
        if self.is_orphan() {
            self.drain()?;
        }
        while !self.is_finished() {
            let happened = self.wait(self.timeout())?;
            let seen = self.look_at_sockets(happened);
            self.outlive(seen)?;
            let ran = self.run_functions();
            self.outlive(ran)?;
        }
        Ok(())
    }

    /// Goes on after what no function raised: the handler of a signal did, or another thread injected it. Raises what
    /// ends the worker.
    pub(crate) fn outlive(&self, done: PyResult<()>) -> PyResult<()> {
        let Err(error) = done else { return Ok(()) };
        if ends_worker(self.py, &error) || self.core.forks.has_forked() {
            return Err(error);
        }
        self.core.wake(); // something may have been left undone
        match self.core.package.log_stray(self.py, &error) {
            Err(error) if ends_worker(self.py, &error) => Err(error),
            _ => Ok(()),
        }
    }

    // Sockets

    fn look_at_sockets(&mut self, happened: Happened) -> PyResult<()> {
        self.py.check_signals()?;
        if happened.wake {
            self.on_wake()?;
        }
        if happened.signal {
            self.termination.call_method0(intern!(self.py, "clear"))?;
        }
        if happened.accept {
            self.accept()?;
        }
        for (place, events) in happened.connections {
            self.serve_connection(place, events)?;
        }
        if self.deaf && !happened.anything {
            self.deaf = false;
        }
        let requested = happened.signal
            && self
                .termination
                .getattr(intern!(self.py, "requested"))?
                .is_truthy()?;
        if requested || (!happened.anything && self.is_orphan()) {
            self.drain()?;
        }
        Ok(())
    }

    /// Another thread left something to do.
    fn on_wake(&mut self) -> PyResult<()> {
        let mut bytes = [0; 64];
        // Whatever it is: the pipe is only there to end the waiting.
        let _ = rustix::net::recv(self.wake, &mut bytes, rustix::net::RecvFlags::DONTWAIT);
        self.core.on_woken();
        let exit = self.core.lock().exit.take();
        if let Some(exit) = exit {
            return Err(exit);
        }
        self.greet()?;
        for place in self.places() {
            self.serve_connection(place, PollFlags::empty())?;
        }
        Ok(())
    }

    fn serve_connection(&mut self, place: Place, events: PollFlags) -> PyResult<()> {
        if events.contains(PollFlags::IN) {
            let (received, given_up) = self.core.lock().receive(Some(self.py), place);
            self.tell(given_up);
            if received.is_err() {
                return self.close(place);
            }
        }
        if events.intersects(GONE) {
            return self.close(place);
        }
        self.settle(place)
    }

    /// After anything has happened to a connection: what is to be done for it next.
    pub(crate) fn settle(&mut self, place: Place) -> PyResult<()> {
        let mut state = self.core.lock();
        let Some(connection) = state.get(place) else {
            return Ok(());
        };
        let failed = connection.flush().is_err();
        if failed || connection.gone || connection.lost || connection.is_finished() {
            drop(state);
            return self.close(place);
        }
        if connection.may_run() && !connection.scheduled {
            connection.scheduled = true;
            self.ready.push_back(place);
        }
        connection.reads_less = connection.is_paused();
        let interest = connection.wanted_events();
        if connection.interest != interest {
            connection.interest = interest;
            drop(state);
            let polled = self.connections.iter_mut().find(|one| one.place == place);
            polled.into_iter().for_each(|one| one.interest = interest);
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, place: Place) -> PyResult<()> {
        self.connections.retain(|one| one.place != place);
        self.deaf = false;
        if ending::close(self.py, self.core, place)? {
            self.drain()?;
        }
        Ok(())
    }

    fn tell(&self, given_up: GivenUp) {
        if !given_up.is_empty() {
            self.core.tell(self.py, given_up);
        }
    }

    // Functions

    fn run_functions(&mut self) -> PyResult<()> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.core.limits.turn;
        while let Some(place) = self.ready.pop_front() {
            if self.is_to_run(place) {
                self.take_turn(place)?;
            }
            let now = Instant::now();
            self.flush_deadline = now + self.core.limits.flush;
            if now > deadline {
                break;
            }
        }
        self.stand_in.prepare(self.py, self.core)
    }

    fn is_to_run(&self, place: Place) -> bool {
        let mut state = self.core.lock();
        state.get(place).is_some_and(|connection| {
            connection.scheduled = false;
            connection.may_run()
        })
    }

    fn places(&self) -> Vec<Place> {
        self.connections.iter().map(|one| one.place).collect()
    }

    pub(crate) fn with<T>(
        &self,
        place: Place,
        act: impl FnOnce(&mut Connection) -> T,
    ) -> Option<T> {
        let mut state = self.core.lock();
        State::get(&mut state, place).map(act)
    }
}
