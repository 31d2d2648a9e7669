//! Which processes get signals: the process group that a worker leads, and its Python if a wrapper such as `uv run`
//! leads.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group, waitpgid,
};
use tokio::{sync::watch, time::timeout};

use crate::transport::Transport;

/// How long a process that a worker started may outlive it.
const GRACE: Duration = Duration::from_secs(2);

/// How long a killed process may take to end. Only a process that waits for a broken device takes longer.
pub(in crate::worker) const TO_DIE: Duration = Duration::from_secs(2);

/// Time between two checks whether the group still has members.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone)]
pub(super) struct Group {
    leader: Pid,
    /// Once set, the system may give the id to another process, which must not get our signals.
    reaped: Arc<Mutex<bool>>,
    /// Set if the leader is a wrapper.
    python: Arc<OnceLock<Python>>,
}

/// Killed on drop, also if the receiver of the spawning thread is gone.
#[derive(Debug)]
pub(super) struct KillOnDrop(pub(super) Group);

/// The process that listens on a worker's socket.
#[derive(Debug)]
pub(in crate::worker) struct Python {
    pid: Pid,
    /// Never refers to another process, even after this one has ended and its id is reused.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
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

    /// The worker's own process; the leader as long as the worker's is unknown.
    pub(super) fn pid(&self) -> Pid {
        self.python.get().map_or(self.leader, |it| it.pid)
    }

    /// From now on the process that listens gets signals, too. It must be the one that answered on the connection.
    pub(super) fn includes(&self, python: Python) {
        if python.pid != self.leader {
            let _ = self.python.set(python);
        }
    }

    /// Sends SIGTERM to the worker. A wrapper gets none, because it would end before its Python; it ends after it.
    pub(super) fn terminate(&self) {
        match self.python.get() {
            Some(python) => python.signal(Signal::TERM),
            None => self.signal(Signal::TERM),
        }
    }

    /// Sends SIGKILL to the worker, and SIGTERM to all processes that it started. [`clear`](Self::clear) waits for
    /// those.
    pub(super) fn kill(&self) {
        let reaped = self.reaped();
        if !*reaped {
            // An error means that they have ended already, which is the goal.
            let _ = kill_process(self.leader, Signal::KILL);
            let _ = kill_process_group(self.leader, Signal::TERM);
        }
        drop(reaped);
        if let Some(python) = self.python.get() {
            python.signal(Signal::KILL);
        }
    }

    /// Waits until all processes that the worker started are gone, and kills those that take too long. To be called
    /// after [`kill`](Self::kill) and [`reap`](Self::reap).
    ///
    /// Python's resource tracker ignores SIGTERM. It unlinks shared memory and semaphores once no process can use them.
    ///
    /// As long as the group has a member, the system does not reuse its id; it had a member at the check just before.
    pub(super) fn clear(&self) {
        if !self.ends_within(GRACE) {
            let _ = kill_process_group(self.leader, Signal::KILL);
            self.ends_within(TO_DIE);
        }
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.has_members() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL_INTERVAL);
        }
        true
    }

    fn has_members(&self) -> bool {
        // If the service is process 1, as in a container, it has to reap orphans itself.
        while let Ok(Some(_)) = waitpgid(self.leader, WaitOptions::NOHANG) {}
        test_kill_process_group(self.leader).is_ok()
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
            // An error means that it has ended already, which is the goal.
            let _ = kill_process_group(self.leader, signal);
        }
    }

    fn reaped(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process groups of a pool that still have members.
#[derive(Debug)]
pub(crate) struct Groups(watch::Sender<()>);

impl Groups {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Registers a group. It counts as gone when the receiver is dropped.
    pub(super) fn register(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }

    /// Waits until all groups are gone, within a limit. To be called after [`Group::kill`] or [`Group::terminate`] of
    /// each.
    pub(crate) async fn ended(&self) {
        let _ = timeout(GRACE + TO_DIE, self.0.closed()).await;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl Python {
    /// The process at the other end, by its id from the system. The id that the worker reports would not do: in a
    /// container it is another one.
    pub(in crate::worker) fn at_the_other_end(transport: &Transport) -> Option<Self> {
        let pid = Pid::from_raw(transport.peer().ok()?.pid?)?;
        Some(Self {
            pid,
            handle: handle(pid),
        })
    }

    /// Without a handle it gets no signals, and ends when the pool closes the connection.
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
