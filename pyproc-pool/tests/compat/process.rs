use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Result, bail};
use tokio::{net::UnixStream, time::sleep};

use crate::{
    candidate::{Candidate, script},
    support::Scratch,
};

/// A worker that listens, and that no pool started. Killed on drop.
pub(crate) struct WorkerProcess {
    child: Child,
    dir: Scratch,
}

impl WorkerProcess {
    /// Starts a worker and waits until it listens.
    pub(crate) async fn start(candidate: &Candidate) -> Result<Self> {
        Self::start_script(candidate, "worker.py").await
    }

    /// Starts a worker with another script of this directory.
    pub(crate) async fn start_script(candidate: &Candidate, name: &str) -> Result<Self> {
        let dir = Scratch::new();
        let log = File::create(dir.path().join("log"))?;
        let child = Command::new(&candidate.python)
            .arg(script().with_file_name(name))
            // The pipe closes with this process, whatever ends it.
            .arg("--end-with-stdin")
            .env("PYPROC_SOCKET_PATH", dir.path().join("worker.sock"))
            .envs(candidate.environment())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut worker = Self { child, dir };
        worker.listens().await?;
        Ok(worker)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("worker.sock")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn listens(&mut self) -> Result<()> {
        while UnixStream::connect(self.socket()).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.dir.path().join("log"))?;
                bail!("the worker ended at its start: {status}\n{log}");
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
