//! The process of a worker, and what it starts: how they are started, signalled and reaped. A process is reaped under
//! the lock that guards signalling it, so that no signal reaches another one.

use std::{
    io,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
};

use rustix::{
    io::Errno,
    process::{Pid, WaitId, WaitIdOptions, waitid},
};
use tokio::sync::{oneshot, watch};

use self::group::{Group, KillOnDrop};
use crate::{
    DeathCause, StartFailureCause,
    output::{CallAttributor, Destination, OutputReader, Tail},
};

mod fork_exec;
mod group;
pub(super) mod interpreter;

pub(crate) use group::Groups;
pub(super) use group::{Python, TO_DIE};

/// A worker's process and everything that it starts. Killed on drop.
#[derive(Debug)]
pub(crate) struct Process {
    group: KillOnDrop,
    exit: watch::Receiver<Option<Exit>>,
    output: OutputReader,
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Exit {
    Known(ExitStatus),
    /// The status is unknown: the service ignores SIGCHLD, or reaps children that are not its own.
    Lost,
}

impl From<Exit> for DeathCause {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Known(status) => Self::Exited(status),
            Exit::Lost => Self::StatusLost,
        }
    }
}

impl From<Exit> for StartFailureCause {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Known(status) => Self::Exited(status),
            Exit::Lost => Self::StatusLost,
        }
    }
}

impl Exit {
    /// The failure of a process that never listened on its socket.
    pub(super) fn without_serving(self) -> StartFailureCause {
        match self {
            Self::Known(status) if status.success() => StartFailureCause::NeverServed,
            other => other.into(),
        }
    }
}

impl Process {
    /// Starts `command` as the leader of a process group of its own, so that neither a Ctrl-C
    /// at the service's terminal nor a left-over child escapes the pool.
    ///
    /// `on_end` is called when the process has ended, before `exited` resolves.
    pub(crate) async fn spawn(
        mut command: Command,
        on_end: impl FnOnce() + Send + 'static,
        to: Destination,
        groups: &Groups,
    ) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;

        command.stdin(Stdio::null()).process_group(0);
        let pipes = to.attach(&mut command)?;
        fork_exec::prepare(&mut command);

        // Boxed: moves on the thread's stack would take one page more of it for each worker.
        let command = Box::new(command);
        let (started, on_start) = oneshot::channel();
        let (exited, exit) = watch::channel(None);
        let registration = groups.register();
        // The thread lives as long as the child, as the death signal requires.
        thread::Builder::new()
            .name("pyproc-process".into())
            .stack_size(128 * 1024)
            .spawn(move || {
                run(command, on_end, started, &exited);
                drop(registration);
            })?;
        let group = on_start
            .await
            .map_err(|_| io::Error::other("the thread of the worker's process died"))??;
        Ok(Self {
            group,
            exit,
            output: OutputReader::collect(pipes)?,
        })
    }

    /// The id of the worker's own process, also behind a wrapper once that process has answered.
    pub(crate) fn pid(&self) -> u32 {
        number(self.group.0.pid())
    }

    /// The id of the process that was started, if it is not the worker's own.
    pub(super) fn wrapper(&self) -> Option<u32> {
        let leader = self.group.0.leader();
        (leader != self.group.0.pid()).then(|| number(leader))
    }

    /// Sets the process that listens and has answered.
    pub(super) fn answers_as(&self, python: Python) {
        self.group.0.includes(python);
    }

    /// Asks the process to finish: SIGTERM.
    pub(crate) fn terminate(&self) {
        self.group.0.terminate();
    }

    /// Sends SIGKILL to the process. All that it started is ended soon after.
    pub(crate) fn kill(&self) {
        self.group.0.kill();
    }

    /// Waits for the end of the process.
    pub(crate) async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => exit,
            // The waiting thread always sends the exit before it ends.
            _ => Exit::Lost,
        }
    }

    /// The last bytes of its output.
    pub(crate) fn tail(&self) -> &Tail {
        self.output.tail()
    }

    /// Attributes its output to calls; `None` if the output is not logged.
    pub(super) fn attributor(&self) -> Option<&Arc<CallAttributor>> {
        self.output.attributor()
    }

    pub(super) fn output(&self) -> &OutputReader {
        &self.output
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Spawns the child, waits for its end, and then for the end of all that it started.
fn run(
    mut command: Box<Command>,
    on_end: impl FnOnce(),
    started: oneshot::Sender<io::Result<KillOnDrop>>,
    exited: &watch::Sender<Option<Exit>>,
) {
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    // The command holds the write end of the pipe, which would stay open on this side.
    drop(command);
    let Some(pid) = Pid::from_raw(child.id() as i32) else {
        return;
    };
    let group = Group::new(pid);
    let _ = started.send(Ok(KillOnDrop(group.clone())));
    let exit = wait(child, &group);
    on_end();
    exited.send_replace(Some(exit));
    group.clear();
}

/// Waits without reaping first, so that no signal can reach another process that got the same id.
fn wait(mut child: Child, group: &Group) -> Exit {
    let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(group.leader()), end), Err(Errno::INTR)) {}
    // What the worker left running in its group follows it. If somebody else has reaped the worker just now, its id
    // is still that of the group, as long as that has members.
    group.kill();
    group.reap(|| child.wait().map_or(Exit::Lost, Exit::Known))
}
