use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use pyproc_pool::{
    Pool, PoolBuilder, WorkerOutput,
    protocol::{Hello, Version},
};

use crate::support::LONG;

/// A worker package to test.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Its column.
    pub(crate) name: String,
    /// The interpreter that it is installed for.
    pub(crate) python: PathBuf,
    /// Which of its loops is to run; its own choice if `None`.
    core: Option<String>,
    /// The newest version of the protocol to agree on.
    pub(crate) protocol: Version,
    version: String,
}

const VERSION: &str = "from importlib.metadata import version; print(version('pyproc-worker'))";

impl Candidate {
    /// Reads `NAME=PYTHON` or `NAME:CORE=PYTHON`. A package that knows both versions of the protocol is a
    /// candidate for each.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>> {
        let (name, python) = text
            .split_once('=')
            .with_context(|| format!("`{text}` is not of the form NAME[:CORE]=PYTHON"))?;
        let (name, core) = match name.split_once(':') {
            Some((name, core)) => (name, Some(core.to_owned())),
            None => (name, None),
        };
        let original = Self {
            name: name.into(),
            python: python.into(),
            core,
            protocol: Version::V1,
            version: version(Path::new(python))
                .with_context(|| format!("cannot test the worker `{name}` with {python}"))?,
        };
        if original.is_original() {
            return Ok(vec![original]);
        }
        let with = |protocol: Version| Self {
            name: format!("{name} v{}", protocol.number()),
            protocol,
            ..original.clone()
        };
        Ok(vec![with(Version::V1), with(Version::V2)])
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
        let builder = Pool::builder()
            .workers(workers)
            .max_protocol_version(self.protocol.number())
            .python_exec(&self.python)
            .worker_script(script())
            .output(WorkerOutput::Discard)
            .start_timeout(LONG)
            .request_timeout(LONG);
        self.environment()
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value))
    }

    /// What makes its worker this one.
    pub(crate) fn environment(&self) -> Option<(&'static str, &str)> {
        Some(("PYPROC_WORKER_CORE", self.core.as_deref()?))
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            versions: (1..=self.protocol.number()).collect(),
            ..Hello::new("compat-test")
        }
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
