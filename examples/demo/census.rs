//! Counting what many source files define, one call for each file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use pyproc_pool::{Error, Pool};
use serde::Deserialize;
use serde_json::json;
use tokio::task::{JoinError, JoinSet};

/// The modules of a Python's standard library.
#[derive(Deserialize)]
pub(crate) struct Sources {
    /// The version of the workers' Python.
    pub(crate) python: String,
    pub(crate) root: String,
    pub(crate) files: Vec<String>,
}

impl Sources {
    /// Brings all files into the page cache, so that no pool has to wait for a disk.
    pub(crate) async fn read_once(&self) -> Result<(), JoinError> {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || {
            for file in files {
                // A file that cannot be read is counted later, by the census.
                let _ = std::fs::read(file);
            }
        })
        .await
    }
}

/// A worker's result for one file.
#[derive(Deserialize)]
struct Module {
    lines: u64,
    functions: u64,
    classes: u64,
    longest: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    lines: u64,
}

/// The longest function of all, compared by its lines first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Longest {
    pub(crate) lines: u64,
    pub(crate) file: String,
    pub(crate) name: String,
}

/// The sum over all files, and the time it took.
#[derive(Default)]
pub(crate) struct Census {
    pub(crate) files: u64,
    pub(crate) lines: u64,
    pub(crate) functions: u64,
    pub(crate) classes: u64,
    pub(crate) longest: Option<Longest>,
    /// Files that Python could not parse, by exception.
    pub(crate) skipped: BTreeMap<String, u64>,
    pub(crate) time: Duration,
}

type Reply = (String, Result<Module, Error>);

impl Census {
    /// Adds these files, as many at a time as the pool has capacity for.
    pub(crate) async fn take(
        &mut self,
        pool: &Pool,
        files: &[String],
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut waiting = files.iter();
        let mut calls = JoinSet::new();
        loop {
            let room = pool.stats().capacity.saturating_sub(calls.len());
            for file in waiting.by_ref().take(room) {
                calls.spawn(census_of(pool.clone(), file.clone()));
            }
            let Some(reply) = calls.join_next().await else {
                break;
            };
            self.add(reply?)?;
            progress.inc(1);
        }
        self.time += start.elapsed();
        Ok(())
    }

    fn add(&mut self, (file, reply): Reply) -> Result<(), Error> {
        match reply {
            Ok(module) => self.add_module(file, module),
            Err(Error::Remote(exception)) => {
                let reason = exception.type_name.unwrap_or(exception.message);
                *self.skipped.entry(reason).or_default() += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn add_module(&mut self, file: String, module: Module) {
        self.files += 1;
        self.lines += module.lines;
        self.functions += module.functions;
        self.classes += module.classes;
        let longest = module
            .longest
            .map(|Function { name, lines }| Longest { lines, file, name });
        self.longest = self.longest.take().max(longest);
    }

    /// Number of completed calls, including those for files that Python could not parse.
    pub(crate) fn calls(&self) -> u64 {
        self.files + self.skipped.values().sum::<u64>()
    }
}

async fn census_of(pool: Pool, file: String) -> Reply {
    let reply = pool.call("census", &json!({ "path": file })).await;
    (file, reply)
}
