//! The directory of a pool's sockets: made by the pool, entered by its user only, removed at the end.

use std::{
    env,
    fmt::Display,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf, absolute},
    process,
    sync::Arc,
};

use rustix::fs::CWD;

use self::{opened::OpenedDir, sweep::sweep};
use crate::{ConfigError, Error, error::is_out_of_descriptors};

mod opened;
mod sweep;

/// A directory that only this user can enter. On drop its sockets and its lock are removed, and then the
/// directory, if it is empty.
///
/// A service that was killed cannot remove its directory; the next one that starts does so.
#[derive(Debug)]
pub(crate) struct SocketDir {
    sockets: Sockets,
    /// Locked as long as the service lives; any end of the service releases it.
    _lock: File,
}

/// The path of the directory, for users that do not own it.
#[derive(Debug, Clone)]
pub(crate) struct Sockets {
    path: PathBuf,
    opened: Arc<OpenedDir>,
}

const PREFIX: &str = "pyproc-";
const LOCK: &str = "lock";

/// The ending of a directory's name before its lock is held.
const UNFINISHED: &str = ".new";

/// The system's `sun_path` has 104 bytes on macOS and 108 on Linux, with a zero at the end.
const MAX_SOCKET_PATH: usize = 103;

/// The longest name of a socket in the directory.
const LONGEST_NAME: &str = "/worker-1023.99999999.sock";

impl SocketDir {
    /// Makes a new directory in `parent`, or in the system's directory for such files.
    pub(crate) fn create(parent: Option<&Path>) -> Result<Self, Error> {
        let Some(parent) = parent else {
            return Self::create_in(&runtime_dir()).or_else(|_| Self::create_in(&env::temp_dir()));
        };
        Self::create_in(parent)
    }

    fn create_in(parent: &Path) -> Result<Self, Error> {
        let bad = |reason: &dyn Display| {
            ConfigError::new("socket_dir", format!("{parent:?}: {reason}")).into()
        };
        let failed = |error: io::Error| match is_out_of_descriptors(&error) {
            true => Error::NoDescriptor(error),
            false => bad(&error),
        };
        // Workers may run in another directory.
        let parent = absolute(parent).map_err(failed)?;
        sweep(&parent);
        let name = format!("{PREFIX}{}-{:08x}", process::id(), fastrand::u32(..));
        let path = parent.join(name);
        let length = path.as_os_str().len() + LONGEST_NAME.len();
        if length > MAX_SOCKET_PATH {
            return Err(bad(&format_args!(
                "a socket in it would have a path of {length} bytes, and not every system \
                 allows more than {MAX_SOCKET_PATH}; choose a shorter one"
            )));
        }
        make(path).map_err(failed)
    }

    pub(crate) fn sockets(&self) -> &Sockets {
        &self.sockets
    }
}

impl Sockets {
    /// The path of a worker's socket. The number separates it from those of the slot's other workers.
    pub(crate) fn path_of(&self, worker: usize, incarnation: u32) -> PathBuf {
        self.path
            .join(format!("worker-{worker}.{incarnation}.sock"))
    }

    /// Removes the socket of a worker that has ended, if it left one.
    pub(crate) fn remove(&self, socket: &Path) {
        if let Some(name) = socket.file_name() {
            let _ = self.opened.remove_socket(name);
        }
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        let Sockets { path, opened } = &self.sockets;
        if let Err(error) = opened.remove(CWD, path) {
            tracing::warn!(dir = ?path, %error, "cannot remove the directory of sockets");
        }
    }
}

/// Empty counts as not set.
fn runtime_dir() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => env::temp_dir(),
    }
}

/// Makes the directory under another name first, so that no sweep takes it for an abandoned one before its lock is
/// held.
fn make(path: PathBuf) -> io::Result<SocketDir> {
    let unfinished = path.with_extension(&UNFINISHED[1..]);
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let opened = OpenedDir::open(CWD, &unfinished)?;
    let lock = opened.make_lock()?;
    fs::rename(&unfinished, &path)?;
    opened.check_name(CWD, &path)?;
    let opened = Arc::new(opened);
    Ok(SocketDir {
        sockets: Sockets { path, opened },
        _lock: lock,
    })
}

#[cfg(test)]
mod tests;
