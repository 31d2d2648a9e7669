//! The thread that looks after clients while a function keeps the serving thread busy: it answers
//! pings, takes cancellations and reads requests. It never takes the interpreter lock, which a
//! function may keep for as long as it likes.

mod gil_tasks;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::gil_tasks::{Errand, Errands};
use crate::state::{self, Core, GivenUp, Place};
use crate::transport::{Client, Connection};

/// How long a function runs, at least, before its clients are looked after.
const TICK: Duration = Duration::from_millis(10);

/// Ticks without any function after which the watcher sleeps.
const IDLE_TICKS: u32 = 100;

/// Starts the watcher of a worker; it ends with [`Pulse::stop`](crate::state::Pulse::stop).
pub(crate) fn start(core: Arc<Core>, listener: OwnedFd) -> io::Result<JoinHandle<()>> {
    let watched = Arc::clone(&core);
    let handle = thread::Builder::new()
        .name("pyproc-watcher".into())
        .stack_size(256 * 1024)
        .spawn(move || watch(&watched, &listener))?;
    core.pulse.watched_by(handle.thread().clone());
    Ok(handle)
}

fn watch(core: &Arc<Core>, listener: &OwnedFd) {
    let mut errands = Errands::new(core);
    let (mut seen, mut idle_ticks) = (core.pulse.count(), 0);
    while !core.pulse.is_stopped() {
        thread::park_timeout(TICK);
        let count = core.pulse.count();
        if count != seen {
            (seen, idle_ticks) = (count, 0);
        } else if is_running(count) {
            look_after(core, listener, &mut errands, count);
        } else {
            idle_ticks += 1;
        }
        if idle_ticks >= IDLE_TICKS && core.pulse.fall_asleep(count) {
            while core.pulse.is_asleep() && !core.pulse.is_stopped() {
                thread::park();
            }
            idle_ticks = 0;
        }
    }
}

fn is_running(count: u64) -> bool {
    count % 2 == 1
}

/// Until the function that runs at this count of the pulse has ended. What was read is left to the
/// serving thread.
fn look_after(core: &Core, listener: &OwnedFd, errands: &mut Errands, count: u64) {
    let is_over = || core.pulse.count() != count || core.pulse.is_stopped();
    while !is_over() {
        let (accept, happened) = wait(core, listener);
        if accept {
            if state::accept(core, listener.as_fd()).is_err() {
                // The serving thread will say so.
                thread::park_timeout(TICK);
            }
            core.wake();
        }
        for (place, events) in happened {
            let errand = serve(core, place, events, !errands.are_many());
            // It may have looked at its clients before this one was read.
            core.wake();
            errands.send(errand);
        }
        if !errands.are_many() {
            errands.send_left();
        }
    }
    errands.send_left();
}

/// Whether somebody wants to connect, and the connections on which something has happened, within a
/// tick.
fn wait(core: &Core, listener: &OwnedFd) -> (bool, Vec<(Place, PollFlags)>) {
    let mut listens = PollFlags::IN;
    let lost: Vec<(Place, PollFlags)> = {
        let mut state = core.lock();
        let lost = state.connections().filter(|(_, one)| one.lost && !one.gone);
        lost.map(|(place, _)| (place, PollFlags::ERR)).collect()
    };
    if !lost.is_empty() {
        return (false, lost);
    }
    let sockets: Vec<(Place, Arc<OwnedFd>, PollFlags)> = {
        let mut state = core.lock();
        listens.set(PollFlags::IN, !state.draining);
        let here = state
            .connections()
            .filter(|(_, connection)| !connection.gone);
        here.map(|(place, connection)| {
            (
                place,
                Arc::clone(&connection.socket),
                connection.wanted_events(),
            )
        })
        .collect()
    };
    let mut fds: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|(_, socket, events)| PollFd::new(&**socket, *events))
        .chain([PollFd::new(listener, listens)])
        .collect();
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: TICK.subsec_nanos().into(),
    };
    // An error, such as an interruption by a signal, is like nothing having happened.
    let _ = poll(&mut fds, Some(&tick));
    let happened = sockets
        .iter()
        .zip(&fds)
        .filter(|(_, fd)| !fd.revents().is_empty());
    let happened = happened
        .map(|((place, ..), fd)| (*place, fd.revents()))
        .collect();
    let accept = fds
        .last()
        .is_some_and(|fd| fd.revents().contains(PollFlags::IN));
    (accept, happened)
}

fn serve(core: &Core, place: Place, events: PollFlags, takes_requests: bool) -> Errand {
    let mut state = core.lock();
    let mut given_up = GivenUp::default();
    let mut failed = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
    if events.contains(PollFlags::IN) {
        let (received, told) = state.receive(None, place);
        failed |= received.is_err();
        given_up = told;
    }
    if let Some(connection) = state.get(place) {
        failed |= connection.flush().is_err();
        if failed {
            // The serving thread closes it.
            connection.gone = true;
            connection.waiting.clear();
            connection.waiting_concurrent.clear();
            given_up = state.give_up(place, |_| true);
        }
    }
    // Requests that stay where they are make their connection stop reading in time.
    let (calls, client, greeting) = if takes_requests {
        let (calls, client) = state.take_concurrent(place);
        let greeting = state.get(place).and_then(Connection::take_greeting);
        (calls, client, greeting)
    } else {
        (Vec::new(), Client::default(), None)
    };
    Errand {
        place,
        given_up,
        calls,
        client,
        greeting,
    }
}
