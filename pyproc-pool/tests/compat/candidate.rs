use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use pyproc_pool::{Pool, PoolBuilder, WorkerOutput};

use crate::support::LONG;

/// A worker package to test.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Its column.
    pub(crate) name: String,
    /// The interpreter that it is installed for.
    pub(crate) python: PathBuf,
    version: String,
}

const VERSION: &str = "from importlib.metadata import version; print(version('pyproc-worker'))";

impl Candidate {
    /// Reads `NAME=PYTHON`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (name, python) = text
            .split_once('=')
            .with_context(|| format!("`{text}` is not of the form NAME=PYTHON"))?;
        Ok(Self {
            name: name.into(),
            python: python.into(),
            version: version(Path::new(python))
                .with_context(|| format!("cannot test the worker `{name}` with {python}"))?,
        })
    }

    /// From before the hello: one connection at a time, and errors without details.
    ///
    /// The package's version says so, because a worker of ours that lost these
    /// abilities must fail.
    pub(crate) fn is_original(&self) -> bool {
        self.version.starts_with("0.1.")
    }

    /// A pool of these workers.
    pub(crate) fn pool(&self, workers: usize) -> PoolBuilder {
        Pool::builder()
            .workers(workers)
            .python_exec(&self.python)
            .worker_script(script())
            .output(WorkerOutput::Discard)
            .start_timeout(LONG)
            .request_timeout(LONG)
    }
}

pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/worker.py")
}

fn version(python: &Path) -> Result<String> {
    let output = Command::new(python).args(["-c", VERSION]).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().last().unwrap_or_default();
    ensure!(
        output.status.success(),
        "is pyproc-worker installed there? {complaint}"
    );
    Ok(String::from_utf8(output.stdout)?.trim().into())
}
