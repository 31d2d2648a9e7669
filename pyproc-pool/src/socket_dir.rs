use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

use crate::ConfigError;

/// A directory that only this user can enter, removed with all that is in it on drop.
#[derive(Debug)]
pub(crate) struct SocketDir(PathBuf);

/// The system's `sun_path` has 104 bytes on macOS and 108 on Linux, with a zero at the end.
const MAX_SOCKET_PATH: usize = 103;

/// The longest name of a socket in the directory.
const LONGEST_NAME: &str = "/worker-1023.99999999.sock";

impl SocketDir {
    /// Makes a new directory in `parent`, or where the system keeps such things.
    pub(crate) fn create(parent: Option<&Path>) -> Result<Self, ConfigError> {
        let default = || env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from);
        let parent = parent.map_or_else(default, PathBuf::from);
        let error =
            |reason: String| ConfigError::new("socket_dir", format!("{parent:?}: {reason}"));
        loop {
            let name = format!("pyproc-{}-{:08x}", process::id(), fastrand::u32(..));
            let dir = parent.join(name);
            let length = dir.as_os_str().len() + LONGEST_NAME.len();
            if length > MAX_SOCKET_PATH {
                return Err(error(format!(
                    "a socket in it would have a path of {length} bytes, \
                     and the system allows {MAX_SOCKET_PATH}; choose a shorter one"
                )));
            }
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => return Ok(Self(dir)),
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {}
                Err(other) => return Err(error(other.to_string())),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(dir = ?self.0, %error, "cannot remove the directory of sockets");
        }
    }
}
