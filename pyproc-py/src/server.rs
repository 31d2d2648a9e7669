//! The serving thread: it waits for sockets, reads them, and runs one plain function at a time.
//!
//! What has arrived on a connection is read at once, its requests run one after another, and their answers leave in one
//! write. A turn ends after fifty microseconds, so that the client works on the first answers while the worker runs the next
//! requests, and before a function that was not quick when it last ran, so that no answer waits behind it.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PySystemExit;
use pyo3::intern;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use crate::connection::Connection;
use crate::functions::Functions;
use crate::json::Keys;
use crate::spin::Spin;
use crate::state::{Core, GivenUp, Place, State};
use crate::{concurrent, hello};

/// Functions that run longer let earlier answers go first.
pub(crate) const QUICK: Duration = Duration::from_micros(100);

/// After that much of functions, answers are sent and sockets looked at.
pub(crate) const TURN: Duration = Duration::from_micros(50);

/// What clients have to read the last answers.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Between looks at what no socket tells.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// Bytes that one write should be able to leave with the system.
const SEND_BUFFER: usize = 1024 * 1024;

const GONE: PollFlags = PollFlags::HUP.union(PollFlags::ERR).union(PollFlags::NVAL);

/// What the serving thread alone knows.
pub(crate) struct Server<'a, 'py> {
    pub(crate) py: Python<'py>,
    pub(crate) core: &'a Arc<Core>,
    pub(crate) functions: Functions,
    pub(crate) keys: Keys,
    /// Answers of the turn.
    pub(crate) answers: Vec<u8>,
    listener: BorrowedFd<'a>,
    termination: Bound<'py, PyAny>,
    termination_fd: BorrowedFd<'a>,
    wake: &'a UnixStream,
    parent_pid: Option<u32>,
    spin: Spin,
    connections: Vec<Polled>,
    ready: VecDeque<Place>,
    deaf: bool,
    flush_deadline: Instant,
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
}

/// What has happened.
#[derive(Default)]
struct Happened {
    anything: bool,
    accept: bool,
    signal: bool,
    wake: bool,
    connections: Vec<(Place, PollFlags)>,
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
            answers: Vec::new(),
            listener: sources.listener,
            termination: sources.termination,
            termination_fd: sources.termination_fd,
            wake: sources.wake,
            parent_pid: sources.parent_pid,
            spin: Spin::new(spin),
            connections: Vec::new(),
            ready: VecDeque::new(),
            deaf: false,
            flush_deadline: Instant::now(),
        }
    }

    /// Serves until SIGTERM, the owner's end or the parent's, then finishes what there is.
    pub(crate) fn serve(&mut self) -> PyResult<()> {
        let ended = self.run();
        if let Err(error) = &ended
            && error.is_instance_of::<PySystemExit>(self.py)
        {
            self.say_goodbye();
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
            self.look_at_sockets()?;
            self.run_functions()?;
        }
        Ok(())
    }

    // Sockets

    fn look_at_sockets(&mut self) -> PyResult<()> {
        let timeout = self.timeout();
        let happened = self.wait(timeout)?;
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

    /// How long to wait for something to happen; `None` without end.
    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let mut state = self.core.lock();
        if state.draining && !state.has_concurrent() {
            return Some(
                self.flush_deadline
                    .saturating_duration_since(Instant::now()),
            );
        }
        (self.deaf || self.parent_pid.is_some()).then_some(IDLE_CHECK)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> PyResult<Happened> {
        let listens = !self.deaf && !self.core.lock().draining;
        let fixed = [
            PollFd::new(&self.termination_fd, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(
                &self.listener,
                if listens {
                    PollFlags::IN
                } else {
                    PollFlags::empty()
                },
            ),
        ];
        let connections = self.connections.iter();
        let connections = connections.map(|one| PollFd::new(&*one.socket, one.interest));
        let mut fds: Vec<PollFd<'_>> = fixed.into_iter().chain(connections).collect();
        wait_for(self.py, &mut self.spin, &mut fds, timeout)?;
        let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        Ok(self.happened(&events))
    }

    fn happened(&self, events: &[PollFlags]) -> Happened {
        let [signal, wake, accept, connections @ ..] = events else {
            return Happened::default();
        };
        let connections = self.connections.iter().zip(connections);
        let connections = connections.filter(|(_, events)| !events.is_empty());
        Happened {
            anything: events.iter().any(|events| !events.is_empty()),
            accept: !accept.is_empty(),
            signal: !signal.is_empty(),
            wake: !wake.is_empty(),
            connections: connections
                .map(|(one, events)| (one.place, *events))
                .collect(),
        }
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

    fn accept(&mut self) -> PyResult<()> {
        if let Err(error) = accept(self.core, self.listener) {
            // Out of descriptors, most likely: try again later.
            self.deaf = true;
            let text = format!("cannot accept a connection: {error}");
            self.core.package.log_error(self.py, &text)?;
        }
        self.greet()
    }

    /// Waits for connections that were accepted.
    fn greet(&mut self) -> PyResult<()> {
        let accepted = mem::take(&mut self.core.lock().accepted);
        for place in accepted {
            let socket = self.with(place, |connection| Arc::clone(&connection.socket));
            if let Some(socket) = socket {
                let interest = PollFlags::empty();
                self.connections.push(Polled {
                    place,
                    socket,
                    interest,
                });
                self.settle(place)?;
            }
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
        let draining = state.draining;
        let Some(connection) = state.get(place) else {
            return Ok(());
        };
        let failed = connection.flush().is_err();
        if failed || connection.gone || connection.is_finished() {
            drop(state);
            return self.close(place);
        }
        if connection.may_run() && !connection.scheduled {
            connection.scheduled = true;
            self.ready.push_back(place);
        }
        connection.reads_less = connection.is_paused();
        let interest = connection.wanted_events(draining);
        if connection.interest != interest {
            connection.interest = interest;
            drop(state);
            let polled = self.connections.iter_mut().find(|one| one.place == place);
            polled.into_iter().for_each(|one| one.interest = interest);
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, place: Place) -> PyResult<()> {
        let (connection, given_up) = self.core.lock().remove(place);
        self.connections.retain(|one| one.place != place);
        self.tell(given_up);
        self.deaf = false;
        match connection {
            Some(connection) if connection.owner => self.drain(),
            _ => Ok(()),
        }
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
        let deadline = Instant::now() + TURN;
        while let Some(place) = self.ready.pop_front() {
            if self.is_to_run(place) {
                self.take_turn(place)?;
            }
            let now = Instant::now();
            self.flush_deadline = now + FLUSH_LIMIT;
            if now > deadline {
                break;
            }
        }
        Ok(())
    }

    fn is_to_run(&self, place: Place) -> bool {
        let mut state = self.core.lock();
        state.get(place).is_some_and(|connection| {
            connection.scheduled = false;
            connection.may_run()
        })
    }

    // The end

    /// Takes no more than what has arrived already, then finishes.
    fn drain(&mut self) -> PyResult<()> {
        if std::mem::replace(&mut self.core.lock().draining, true) {
            return Ok(());
        }
        self.flush_deadline = Instant::now() + FLUSH_LIMIT;
        for place in self.places() {
            let ended = self.with(place, |connection| {
                connection.say_drain();
                connection.ended
            });
            let events = if ended == Some(true) {
                PollFlags::empty()
            } else {
                PollFlags::IN
            };
            self.serve_connection(place, events)?;
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        if !self.ready.is_empty() {
            return false;
        }
        let mut state = self.core.lock();
        if !state.draining {
            return false;
        }
        state.is_idle() || (!state.has_concurrent() && Instant::now() > self.flush_deadline)
    }

    /// Gives clients a bounded time to read the answers that are ready.
    fn say_goodbye(&mut self) {
        let deadline = Instant::now() + FLUSH_LIMIT;
        for place in self.places() {
            while self.sends_on(place) {
                let left = deadline.saturating_duration_since(Instant::now());
                let Some(one) = self.connections.iter().find(|one| one.place == place) else {
                    break;
                };
                let mut fds = [PollFd::new(&*one.socket, PollFlags::OUT)];
                let timeout = timespec(left);
                let room = self.py.detach(|| poll(&mut fds, Some(&timeout)));
                if left.is_zero() || room.is_err() {
                    break;
                }
            }
        }
    }

    /// Whether something is left to send to a client that is there.
    fn sends_on(&self, place: Place) -> bool {
        let sent = self.with(place, |connection| {
            let sent = connection.outgoing.send(&*connection.socket);
            sent.is_ok() && !connection.outgoing.is_empty()
        });
        sent == Some(true)
    }

    fn is_orphan(&self) -> bool {
        self.parent_pid
            .is_some_and(|parent| parent != std::os::unix::process::parent_id())
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

/// Waits until something has happened, without the interpreter lock if that may take a while. A signal is a reason to return.
fn wait_for(
    py: Python<'_>,
    spin: &mut Spin,
    fds: &mut [PollFd<'_>],
    timeout: Option<Duration>,
) -> PyResult<()> {
    if timeout == Some(Duration::ZERO) {
        return polled(poll(fds, Some(&timespec(Duration::ZERO))));
    }
    let timeout = timeout.map(timespec);
    let result = py.detach(|| {
        let caught = spin.spin(|| poll(fds, Some(&timespec(Duration::ZERO))) != Ok(0));
        if caught {
            return Ok(1);
        }
        let result = poll(fds, timeout.as_ref());
        if result.is_ok_and(|count| count > 0) {
            spin.was_woken();
        }
        result
    });
    polled(result)
}

fn polled(result: rustix::io::Result<usize>) -> PyResult<()> {
    match result {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Accepts a connection, if one has come; the serving thread is yet to greet it.
pub(crate) fn accept(core: &Core, listener: BorrowedFd<'_>) -> io::Result<()> {
    let socket = match accept_private(listener) {
        Ok(socket) => socket,
        Err(error) if is_passing(error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // As much as the system allows.
    let _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
    let mut state = core.lock();
    let names = Arc::clone(&state.concurrent_names);
    let place = state.add(Connection::new(socket, core.max_frame_size, names));
    state.accepted.push(place);
    Ok(())
}

/// A socket that no program inherits that functions start. It may block: all its uses say that they must not.
#[cfg(target_os = "linux")]
fn accept_private(listener: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC)
}

#[cfg(not(target_os = "linux"))]
fn accept_private(listener: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::accept(listener)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}

fn is_passing(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::AGAIN | Errno::INTR | Errno::CONNABORTED)
}

/// Ends the threads of a worker, whatever ends the worker.
pub(crate) fn end(
    py: Python<'_>,
    core: &Core,
    watcher: std::thread::JoinHandle<()>,
) -> PyResult<()> {
    core.pulse.stop();
    // It ends by itself even if it panicked.
    let _ = py.detach(|| watcher.join());
    concurrent::stop(py, core)
}
