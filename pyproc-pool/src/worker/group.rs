//! Whom signals reach: the process group that a worker leads, and its Python where a wrapper such as `uv run` leads.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::UnixStream;

#[derive(Debug, Clone)]
pub(super) struct Group {
    leader: Pid,
    /// Once set, the system may give the id to another process, which must not get
    /// our signals.
    reaped: Arc<Mutex<bool>>,
    /// Set if the leader is a wrapper.
    python: Arc<OnceLock<Python>>,
}

/// A group on its way from the thread that spawned it to whoever asked, who may be gone, and in use: killed on drop.
#[derive(Debug)]
pub(super) struct KillOnDrop(pub(super) Group);

/// The process that listens on a worker's socket.
#[derive(Debug)]
pub(super) struct Python {
    pid: Pid,
    /// Means this process for ever, also when it has ended and its id is another's.
    handle: Option<OwnedFd>,
}

impl Group {
    pub(super) fn new(leader: Pid) -> Self {
        Self {
            leader,
            reaped: Arc::default(),
            python: Arc::default(),
        }
    }

    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// The worker's own process; until it is known, the leader.
    pub(super) fn pid(&self) -> Pid {
        self.python.get().map_or(self.leader, |it| it.pid)
    }

    /// From now on signals reach the process that listens, too. It must be the one that answered on the connection.
    pub(super) fn includes(&self, python: Python) {
        if python.pid != self.leader {
            let _ = self.python.set(python);
        }
    }

    /// SIGTERM to the worker. A wrapper would end before its Python does, so it gets none, and ends after it.
    pub(super) fn terminate(&self) {
        match self.python.get() {
            Some(python) => python.signal(Signal::TERM),
            None => self.signal(Signal::TERM),
        }
    }

    /// SIGKILL to all.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
        if let Some(python) = self.python.get() {
            python.signal(Signal::KILL);
        }
    }

    /// Reaps the leader while nobody can signal the group.
    pub(super) fn reap<T>(&self, wait: impl FnOnce() -> T) -> T {
        let mut reaped = self.reaped();
        *reaped = true;
        wait()
    }

    fn signal(&self, signal: Signal) {
        let reaped = self.reaped();
        if !*reaped {
            // It may have ended already, which is what is wanted.
            let _ = kill_process_group(self.leader, signal);
        }
    }

    fn reaped(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl Python {
    /// The process at the other end, by what the system says of it. Its own word would not do: in a
    /// container it has another id.
    pub(super) fn at_the_other_end(stream: &UnixStream) -> Option<Self> {
        let pid = Pid::from_raw(stream.peer_cred().ok()?.pid()?)?;
        Some(Self {
            pid,
            handle: handle(pid),
        })
    }

    /// Without a handle it gets no signals: it ends when the pool hangs up.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    fn signal(&self, signal: Signal) {
        #[cfg(target_os = "linux")]
        if let Some(handle) = &self.handle {
            let _ = rustix::process::pidfd_send_signal(handle, signal);
        }
    }
}

#[cfg(target_os = "linux")]
fn handle(pid: Pid) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open};

    pidfd_open(pid, PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn handle(_pid: Pid) -> Option<OwnedFd> {
    None
}
