use std::{
    env,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf, absolute},
    process,
};

use rustix::fs::{FlockOperation, flock};

use crate::ConfigError;

/// A directory that only this user can enter, removed with all that is in it on drop.
///
/// A service that was killed cannot remove its directory; the next one that starts does so.
#[derive(Debug)]
pub(crate) struct SocketDir {
    path: PathBuf,
    /// Locked as long as the service lives, whatever ends it.
    _lock: File,
}

const PREFIX: &str = "pyproc-";
const LOCK: &str = "lock";

/// The system's `sun_path` has 104 bytes on macOS and 108 on Linux, with a zero at the end.
const MAX_SOCKET_PATH: usize = 103;

/// The longest name of a socket in the directory.
const LONGEST_NAME: &str = "/worker-1023.99999999.sock";

impl SocketDir {
    /// Makes a new directory in `parent`, or where the system keeps such things.
    pub(crate) fn create(parent: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(parent) = parent else {
            return Self::create_in(&runtime_dir()).or_else(|_| Self::create_in(&env::temp_dir()));
        };
        Self::create_in(parent)
    }

    fn create_in(parent: &Path) -> Result<Self, ConfigError> {
        let error =
            |reason: String| ConfigError::new("socket_dir", format!("{parent:?}: {reason}"));
        // Workers may run in another directory.
        let parent = absolute(parent).map_err(|source| error(source.to_string()))?;
        sweep(&parent);
        let name = format!("{PREFIX}{}-{:08x}", process::id(), fastrand::u32(..));
        let path = parent.join(name);
        let length = path.as_os_str().len() + LONGEST_NAME.len();
        if length > MAX_SOCKET_PATH {
            return Err(error(format!(
                "a socket in it would have a path of {length} bytes, and not every system \
                 allows more than {MAX_SOCKET_PATH}; choose a shorter one"
            )));
        }
        let lock = make(&path).map_err(|source| error(source.to_string()))?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(dir = ?self.path, %error, "cannot remove the directory of sockets");
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

/// Makes the directory under another name first, so that nobody takes it for a dead one before
/// its lock is held.
fn make(path: &Path) -> io::Result<File> {
    let unfinished = path.with_extension("new");
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let lock = File::create_new(unfinished.join(LOCK))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    fs::rename(&unfinished, path)?;
    Ok(lock)
}

/// Removes what services left that were killed. What cannot be read or removed belongs to
/// somebody else.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && !name.ends_with(".new") && is_dead(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether nobody holds the lock any more.
fn is_dead(dir: &Path) -> bool {
    let lock = File::options().write(true).open(dir.join(LOCK));
    lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch() -> PathBuf {
        let dir = Path::new("/tmp").join(format!("pp-{:x}", fastrand::u64(..)));
        fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn only_this_user_may_enter_and_nothing_is_left_on_drop() {
        let parent = scratch();
        let dir = SocketDir::create(Some(&parent)).unwrap();
        let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(dir);
        fs::remove_dir(&parent).unwrap();
    }

    #[test]
    fn directories_of_the_dead_are_swept_and_those_of_the_living_are_not() {
        let parent = scratch();
        let living = SocketDir::create(Some(&parent)).unwrap();
        let dead = parent.join("pyproc-1-dead");
        drop(make(&dead).unwrap());
        let foreign = parent.join("pyproc-without-a-lock");
        fs::create_dir(&foreign).unwrap();

        let next = SocketDir::create(Some(&parent)).unwrap();
        assert!(living.path().exists() && next.path().exists() && foreign.exists());
        assert!(!dead.exists());
        drop((living, next));
        fs::remove_dir_all(&parent).unwrap();
    }

    #[test]
    fn a_relative_directory_starts_at_the_services_own() {
        let dir = SocketDir::create(Some(Path::new("."))).unwrap();
        assert!(dir.path().is_absolute());
    }
}
