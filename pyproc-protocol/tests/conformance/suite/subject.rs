//! The worker under test: a command that the tool starts, or a socket that somebody else's worker listens on.

use std::{
    cell::{Cell, RefCell},
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    peer::Peer,
    verdict::{Outcome, Stop, not_applicable},
};

/// How to reach the worker.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Started as often as the scripts need a process.
    Command(Vec<OsString>),
    Socket(PathBuf),
}

pub(crate) struct Subject {
    target: Target,
    /// Serves all scripts that need no process of their own.
    shared: RefCell<Option<Process>>,
    patience: Cell<Duration>,
    /// What a script has to say of a rule that holds.
    remarks: RefCell<Vec<&'static str>>,
}

/// How long to wait for what a worker must do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait for what a worker is known not to do.
pub(crate) const LITTLE_PATIENCE: Duration = Duration::from_secs(1);

impl Subject {
    /// Fails if the command cannot be started, or nobody listens at the socket.
    pub(crate) fn new(target: Target) -> Result<Self, String> {
        match &target {
            Target::Command(words) => Scratch::new()
                .and_then(|scratch| Process::spawn(words, scratch, PATIENCE))
                .map(drop)
                .map_err(|error| format!("cannot start {}: {error}", words[0].display()))?,
            Target::Socket(path) => UnixStream::connect(path)
                .map(drop)
                .map_err(|error| format!("cannot connect to {}: {error}", path.display()))?,
        }
        Ok(Self {
            target,
            shared: RefCell::new(None),
            patience: Cell::new(PATIENCE),
            remarks: RefCell::default(),
        })
    }

    pub(crate) fn remark(&self, text: &'static str) {
        self.remarks.borrow_mut().push(text);
    }

    pub(crate) fn take_remarks(&self) -> Vec<&'static str> {
        self.remarks.take()
    }

    /// A new connection to a worker that other scripts use, too.
    pub(crate) fn connect(&self) -> Outcome<Peer> {
        let path = self.socket()?;
        Peer::connect(&path, self.patience.get()).map_err(|error| {
            Stop::failed(
                "the worker accepts a connection",
                format!("{}: {error}", path.display()),
            )
        })
    }

    /// A process for a script that ends it.
    pub(crate) fn start(&self) -> Outcome<Process> {
        let mut process = self.spawn(scratch()?)?;
        process.listens()?;
        Ok(process)
    }

    /// A process whose socket's place is taken in some way when it starts.
    pub(crate) fn start_at(&self, take: impl FnOnce(&Path) -> io::Result<()>) -> Outcome<Process> {
        let scratch = scratch()?;
        take(&scratch.socket()).map_err(|error| Stop::failed("a file", error.to_string()))?;
        self.spawn(scratch)
    }

    /// A second process for the socket of the first.
    pub(crate) fn start_beside(&self, first: &Process) -> Outcome<Process> {
        self.spawn(Rc::clone(&first.scratch))
    }

    fn spawn(&self, scratch: Rc<Scratch>) -> Outcome<Process> {
        match &self.target {
            Target::Command(words) => Process::spawn(words, scratch, self.patience.get())
                .map_err(|error| Stop::failed("the worker starts", error.to_string())),
            Target::Socket(_) => not_applicable("the tool did not start this worker"),
        }
    }

    /// After a script that failed, the next one gets a worker that knows nothing of it.
    pub(crate) fn restart(&self) {
        self.shared.replace(None);
    }

    pub(crate) fn set_patience(&self, patience: Duration) {
        self.patience.set(patience);
    }

    fn socket(&self) -> Outcome<PathBuf> {
        if let Target::Socket(path) = &self.target {
            return Ok(path.clone());
        }
        if self.shared.borrow().is_none() {
            *self.shared.borrow_mut() = Some(self.start()?);
        }
        let shared = self.shared.borrow();
        Ok(shared.as_ref().map(Process::socket).unwrap_or_default())
    }
}

/// A worker's process. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    scratch: Rc<Scratch>,
    output: PathBuf,
    patience: Duration,
}

impl Process {
    fn spawn(words: &[OsString], scratch: Rc<Scratch>, patience: Duration) -> io::Result<Self> {
        let output = scratch.0.join(format!("output-{}", next_number()));
        let mut command = Command::new(&words[0]);
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PYPROC_") {
                command.env_remove(name);
            }
        }
        command
            .args(&words[1..])
            .env("PYPROC_SOCKET_PATH", scratch.socket())
            .env("PYPROC_PARENT_PID", process::id().to_string())
            .stdin(Stdio::null());
        let file = File::create(&output)?;
        Ok(Self {
            child: command.stdout(file.try_clone()?).stderr(file).spawn()?,
            scratch,
            output,
            patience,
        })
    }

    /// Waits until it accepts connections.
    pub(crate) fn listens(&mut self) -> Outcome {
        self.wait_until("the worker listens", |it| {
            Peer::connect(&it.socket(), it.patience).is_ok()
        })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.scratch.socket()
    }

    pub(crate) fn connect(&self) -> Outcome<Peer> {
        Peer::connect(&self.socket(), self.patience)
            .map_err(|error| Stop::failed("the worker accepts a connection", error.to_string()))
    }

    pub(crate) fn terminate(&self) -> Outcome {
        let kill = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        match kill {
            Ok(status) if status.success() => Ok(()),
            other => Err(Stop::failed("SIGTERM is sent", format!("{other:?}"))),
        }
    }

    /// Waits until the process has ended.
    pub(crate) fn ended(&mut self) -> Outcome<ExitStatus> {
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(Stop::failed(
            "the process ends",
            format!("it still runs after {:?}", self.patience),
        ))
    }

    fn wait_until(&mut self, expected: &str, holds: impl Fn(&Self) -> bool) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let came = match self.child.try_wait() {
                Ok(Some(status)) => format!("the process ended ({status}):\n{}", self.output()),
                _ if Instant::now() > deadline => {
                    format!("it did not within {PATIENCE:?}:\n{}", self.output())
                }
                _ => {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                }
            };
            return Err(Stop::failed(expected, came));
        }
        Ok(())
    }

    /// The last lines that it wrote.
    fn output(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for a socket and for what workers write.
struct Scratch(PathBuf);

impl Scratch {
    /// The path is short enough for a socket, also on macOS.
    fn new() -> io::Result<Rc<Self>> {
        let path = PathBuf::from(format!("/tmp/ppc-{}-{}", process::id(), next_number()));
        fs::create_dir(&path)?;
        Ok(Rc::new(Self(path)))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("worker.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn scratch() -> Outcome<Rc<Scratch>> {
    Scratch::new().map_err(|error| Stop::failed("a directory", error.to_string()))
}

fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
