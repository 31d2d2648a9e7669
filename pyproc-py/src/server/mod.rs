//! The serving thread: it waits for sockets, reads them, and runs one plain function at a time.
//!
//! It reads at once what has arrived on a connection, runs the requests one after another, and sends their
//! answers in one write. A time slice ends after fifty microseconds, so that the client works on
//! the first answers while the worker runs the next requests; and before a function that was slow
//! when it last ran, so that no answer waits for it.
//!
//! | file | idea |
//! | --- | --- |
//! | `time_slice` | runs the requests of one connection for a time slice |
//! | `waiting` | waits for events |
//! | `accepting` | accepts clients |
//! | `draining` | finishes what has arrived, and takes no more |
//! | `closing` | closes connections, ends the worker's threads |
//! | `polling` | sockets, and the events that they are polled for |
//! | `spin` | polls for a short time before the thread sleeps |

mod accepting;
mod closing;
mod draining;
mod polling;
mod spin;
mod time_slice;
mod waiting;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PySystemExit;
use pyo3::intern;
use pyo3::prelude::*;
use rustix::event::PollFlags;
use rustix::net::RecvFlags;

pub(crate) use self::closing::end;
use self::polling::{CLOSED, PolledSocket, ReadyEvents};
use self::spin::Spin;
use crate::package::{Functions, ends_worker};
use crate::run::{CallClock, Placeholder, hello};
use crate::state::{ConnectionId, Core};
use crate::transport::Connection;
use crate::types::json::KeyCache;

/// What only the serving thread uses.
pub(crate) struct Server<'a, 'py> {
    py: Python<'py>,
    core: &'a Arc<Core>,
    functions: Functions,
    keys: KeyCache,
    clock: CallClock,
    placeholder: Placeholder,
    /// Answers of the time slice.
    answers: Vec<u8>,
    listener: BorrowedFd<'a>,
    termination: Bound<'py, PyAny>,
    termination_fd: BorrowedFd<'a>,
    wake: &'a UnixStream,
    parent_pid: Option<u32>,
    spin: Spin,
    /// See `pyproc_worker._system.unpatched`.
    wait_with_greenlets: Option<Bound<'py, PyAny>>,
    sockets: Vec<PolledSocket>,
    /// Connections whose requests may run.
    run_queue: VecDeque<ConnectionId>,
    /// The listener is not polled: accepting failed.
    accept_paused: bool,
    flush_deadline: Instant,
    /// Calls ran on the event loop when a draining worker checked last.
    had_async_calls: bool,
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
            keys: KeyCache::new(),
            clock: CallClock::default(),
            placeholder: Placeholder::default(),
            answers: Vec::new(),
            listener: sources.listener,
            termination: sources.termination,
            termination_fd: sources.termination_fd,
            wake: sources.wake,
            parent_pid: sources.parent_pid,
            spin: Spin::new(spin, core.limits),
            wait_with_greenlets: sources.wait_with_greenlets,
            sockets: Vec::new(),
            run_queue: VecDeque::new(),
            accept_paused: false,
            flush_deadline: Instant::now(),
            had_async_calls: false,
        }
    }

    /// Serves until SIGTERM, the end of the owner or of the parent, then finishes what has arrived.
    pub(crate) fn serve(&mut self) -> PyResult<()> {
        let ended = self.run();
        let flushes = match &ended {
            Ok(()) => Instant::now() < self.flush_deadline, // the clients do read
            Err(error) => error.is_instance_of::<PySystemExit>(self.py),
        };
        if flushes {
            self.flush_clients()?;
        }
        for connection_id in self.connection_ids() {
            self.close(connection_id)?;
        }
        ended
    }

    fn run(&mut self) -> PyResult<()> {
        hello::list(self.py, self.core, &mut self.functions)?;
        if self.is_orphan() {
            self.drain()?;
        }
        while !self.is_finished() {
            let events = self.wait(self.timeout())?;
            let handled = self.handle_events(events);
            self.unless_fatal(handled)?;
            let ran = self.run_functions();
            self.unless_fatal(ran)?;
        }
        Ok(())
    }

    /// Logs an exception that no function raised: a signal's handler did, or another thread injected it. Raises what
    /// ends the worker.
    fn unless_fatal(&self, done: PyResult<()>) -> PyResult<()> {
        let Err(error) = done else { return Ok(()) };
        if ends_worker(self.py, &error) || self.core.forks.has_forked() {
            return Err(error);
        }
        self.core.wake(); // something may be left undone
        match self.core.package.log_async_exception(self.py, &error) {
            Err(error) if ends_worker(self.py, &error) => Err(error),
            _ => Ok(()),
        }
    }

    // Events

    fn handle_events(&mut self, events: ReadyEvents) -> PyResult<()> {
        self.py.check_signals()?;
        if events.wake {
            self.on_wake()?;
        }
        if events.signal {
            self.termination.call_method0(intern!(self.py, "clear"))?;
        }
        if events.accept {
            self.accept()?;
        }
        for (connection_id, events) in events.connections {
            self.serve_connection(connection_id, events)?;
        }
        if self.accept_paused && !events.anything {
            self.accept_paused = false;
        }
        let requested = events.signal
            && self
                .termination
                .getattr(intern!(self.py, "requested"))?
                .is_truthy()?;
        if requested || (!events.anything && self.is_orphan()) {
            self.drain()?;
        }
        Ok(())
    }

    /// Another thread left something to do.
    fn on_wake(&mut self) -> PyResult<()> {
        let mut bytes = [0; 64];
        // The bytes mean nothing: they only end the wait.
        let _ = rustix::net::recv(self.wake, &mut bytes, RecvFlags::DONTWAIT);
        self.core.on_woken();
        let exit = self.core.lock().exit.take();
        if let Some(exit) = exit {
            return Err(exit);
        }
        self.register_accepted()?;
        for connection_id in self.connection_ids() {
            self.serve_connection(connection_id, PollFlags::empty())?;
        }
        Ok(())
    }

    fn serve_connection(&mut self, connection_id: ConnectionId, events: PollFlags) -> PyResult<()> {
        if events.contains(PollFlags::IN) {
            let (received, cancelled) = self.core.lock().receive(Some(self.py), connection_id);
            if !cancelled.is_empty() {
                self.core.cancel(self.py, cancelled);
            }
            if received.is_err() {
                return self.close(connection_id);
            }
        }
        if events.intersects(CLOSED) {
            return self.close(connection_id);
        }
        self.update_connection(connection_id)
    }

    // Connections

    /// After anything has happened to a connection: sends its answers, closes it if nothing is left to do, queues it if
    /// a request may run, and updates the events that it is polled for.
    fn update_connection(&mut self, connection_id: ConnectionId) -> PyResult<()> {
        let mut state = self.core.lock();
        let Some(connection) = state.get(connection_id) else {
            return Ok(());
        };
        let failed = connection.flush().is_err();
        let is_lost = failed || connection.disconnected || connection.send_failed;
        if is_lost || connection.is_finished() {
            drop(state);
            return self.close(connection_id);
        }
        if connection.may_run() && !connection.scheduled {
            connection.scheduled = true;
            self.run_queue.push_back(connection_id);
        }
        connection.was_paused = connection.is_paused();
        let interest = connection.wanted_events();
        if connection.interest != interest {
            connection.interest = interest;
            drop(state);
            let mut sockets = self.sockets.iter_mut();
            let polled = sockets.find(|polled| polled.connection_id == connection_id);
            polled.into_iter().for_each(|it| it.interest = interest);
        }
        Ok(())
    }

    fn close(&mut self, connection_id: ConnectionId) -> PyResult<()> {
        self.sockets.retain(|it| it.connection_id != connection_id);
        self.accept_paused = false;
        if closing::close(self.py, self.core, connection_id)? {
            self.drain()?;
        }
        Ok(())
    }

    fn connection_ids(&self) -> Vec<ConnectionId> {
        self.sockets.iter().map(|it| it.connection_id).collect()
    }

    fn with<T>(
        &self,
        connection_id: ConnectionId,
        act: impl FnOnce(&mut Connection) -> T,
    ) -> Option<T> {
        let mut state = self.core.lock();
        state.get(connection_id).map(act)
    }

    // Functions

    fn run_functions(&mut self) -> PyResult<()> {
        if self.run_queue.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.core.limits.time_slice;
        while let Some(connection_id) = self.run_queue.pop_front() {
            if self.may_run(connection_id) {
                self.run_time_slice(connection_id)?;
            }
            let now = Instant::now();
            self.flush_deadline = now + self.core.limits.flush;
            if now > deadline {
                break;
            }
        }
        self.placeholder.prepare(self.py, self.core)
    }

    fn may_run(&self, connection_id: ConnectionId) -> bool {
        let mut state = self.core.lock();
        state.get(connection_id).is_some_and(|connection| {
            connection.scheduled = false;
            connection.may_run()
        })
    }
}
