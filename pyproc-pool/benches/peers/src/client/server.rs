//! The Python servers of a session.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Seek},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::process::family;
use anyhow::{Context, Result, bail};

/// How long a server may take to answer its first call.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server process, and what it started.
pub(crate) struct Server {
    child: Child,
    stderr: File,
}

impl Server {
    /// Runs a script of ours. It ends when its stdin does, so also when we are killed.
    pub(crate) fn start<A: AsRef<OsStr>>(
        python: &Path,
        script: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let stderr = tempfile::tempfile()?;
        let mut command = Command::new(python);
        command
            .arg(script_path(script))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(stderr.try_clone()?);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {script}"))?;
        Ok(Self { child, stderr })
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        family(self.child.id())
    }

    /// Tries until `attempt` succeeds, the server ends, or patience does.
    pub(crate) async fn answers<T>(&mut self, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status}):\n{}", self.last_words());
            }
            if begin.elapsed() > PATIENCE {
                let words = self.last_words();
                return Err(error.context(format!("the server does not answer\n{words}")));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn last_words(&mut self) -> String {
        let mut text = String::new();
        let _ = self.stderr.rewind();
        let _ = self.stderr.read_to_string(&mut text);
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begin.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Where our Python programs are.
pub(crate) fn script_path(script: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("python")
        .join(script)
}
