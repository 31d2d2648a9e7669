//! The watcher: a thread that serves clients while a function keeps the serving thread busy. It answers
//! pings, takes cancellations and reads requests.
//!
//! Invariant: the watcher never takes the interpreter lock, which a function may keep for any time. What needs that
//! lock is left to the thread of `gil_tasks`, and what may wait is left to the serving thread.
//!
//! | file | idea |
//! | --- | --- |
//! | `gil_tasks` | a thread for what needs the interpreter lock |

mod gil_tasks;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::gil_tasks::{GilTask, GilTasks};
use crate::state::{self, Activity, CancelledCalls, ConnectionId, Core};
use crate::transport::Connection;

/// A function runs at least so long before the watcher serves clients. Also the timeout of its polls.
const TICK: Duration = Duration::from_millis(10);

/// Ticks without any function after which the watcher sleeps.
const IDLE_TICKS: u32 = 100;

/// Starts the watcher of a worker; [`Activity::stop`] ends it.
pub(crate) fn start(core: Arc<Core>, listener: OwnedFd) -> io::Result<JoinHandle<()>> {
    let watched = Arc::clone(&core);
    let handle = thread::Builder::new()
        .name("pyproc-watcher".into())
        .stack_size(256 * 1024)
        .spawn(move || watch(&watched, &listener))?;
    core.activity.set_watcher(handle.thread().clone());
    Ok(handle)
}

fn watch(core: &Arc<Core>, listener: &OwnedFd) {
    let activity = &core.activity;
    let mut tasks = GilTasks::new(core);
    let (mut seen, mut idle_ticks) = (activity.count(), 0);
    while !activity.is_stopped() {
        thread::park_timeout(TICK);
        let count = activity.count();
        if count != seen {
            (seen, idle_ticks) = (count, 0);
        } else if Activity::is_function(count) {
            serve_clients(core, listener, &mut tasks, count);
        } else {
            idle_ticks += 1;
        }
        if idle_ticks >= IDLE_TICKS && activity.try_sleep(count) {
            while activity.is_asleep() && !activity.is_stopped() {
                thread::park();
            }
            idle_ticks = 0;
        }
    }
}

/// Serves clients until the function that runs at this count of the activity has ended. Requests of plain functions
/// are left to the serving thread.
fn serve_clients(core: &Core, listener: &OwnedFd, tasks: &mut GilTasks, count: u64) {
    let is_over = || core.activity.count() != count || core.activity.is_stopped();
    while !is_over() {
        let (accept, ready) = wait(core, listener);
        if accept {
            if state::accept(core, listener.as_fd()).is_err() {
                // The serving thread will log it.
                thread::park_timeout(TICK);
            }
            core.wake();
        }
        for (connection_id, events) in ready {
            let task = serve(core, connection_id, events, !tasks.is_full());
            // The serving thread may have checked its connections before this one was read.
            core.wake();
            tasks.send(task);
        }
        if !tasks.is_full() {
            tasks.send_postponed();
        }
    }
    tasks.send_postponed();
}

/// Waits for at most a tick. Returns whether a client wants to connect, and the connections that have events.
fn wait(core: &Core, listener: &OwnedFd) -> (bool, Vec<(ConnectionId, PollFlags)>) {
    let mut listener_events = PollFlags::IN;
    let failed: Vec<(ConnectionId, PollFlags)> = {
        let mut state = core.lock();
        let failed = state
            .connections()
            .filter(|(_, connection)| connection.send_failed && !connection.disconnected);
        failed.map(|(id, _)| (id, PollFlags::ERR)).collect()
    };
    if !failed.is_empty() {
        return (false, failed);
    }
    let sockets: Vec<(ConnectionId, Arc<OwnedFd>, PollFlags)> = {
        let mut state = core.lock();
        listener_events.set(PollFlags::IN, !state.draining);
        let connected = state
            .connections()
            .filter(|(_, connection)| !connection.disconnected);
        connected
            .map(|(id, connection)| {
                let socket = Arc::clone(&connection.socket);
                (id, socket, connection.wanted_events())
            })
            .collect()
    };
    let mut fds: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|(_, socket, events)| PollFd::new(&**socket, *events))
        .chain([PollFd::new(listener, listener_events)])
        .collect();
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: TICK.subsec_nanos().into(),
    };
    // After an error, such as an interruption by a signal, there are no events.
    let _ = poll(&mut fds, Some(&tick));
    let ready = sockets
        .iter()
        .zip(&fds)
        .filter(|(_, fd)| !fd.revents().is_empty());
    let ready = ready.map(|((id, ..), fd)| (*id, fd.revents())).collect();
    let accept = fds
        .last()
        .is_some_and(|fd| fd.revents().contains(PollFlags::IN));
    (accept, ready)
}

/// Reads from a connection and writes to it. Returns what is left to do with the interpreter lock.
fn serve(
    core: &Core,
    connection_id: ConnectionId,
    events: PollFlags,
    takes_requests: bool,
) -> GilTask {
    let mut state = core.lock();
    let mut cancelled = CancelledCalls::default();
    let mut failed = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
    if events.contains(PollFlags::IN) {
        let (received, calls) = state.receive(None, connection_id);
        failed |= received.is_err();
        cancelled = calls;
    }
    if let Some(connection) = state.get(connection_id) {
        failed |= connection.flush().is_err();
        if failed {
            // The serving thread closes it.
            connection.disconnected = true;
            connection.pending.clear();
            connection.pending_async.clear();
            cancelled = state.cancelled_calls(connection_id, |_| true);
        }
    }
    // Requests that are not taken make their connection stop reading in time.
    let (calls, channel, greeting) = if takes_requests {
        let (calls, channel) = state.take_pending_async(connection_id);
        let greeting = state.get(connection_id).and_then(Connection::take_hello);
        (calls, channel, greeting)
    } else {
        (Vec::new(), None, None)
    };
    GilTask {
        connection_id,
        cancelled,
        calls,
        channel,
        greeting,
    }
}
