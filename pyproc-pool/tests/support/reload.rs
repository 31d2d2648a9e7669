//! What the tests of reloads share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use pyproc_pool::{Error, Pool, PoolBuilder, ReloadReport};
use tokio::task::JoinHandle;

use crate::support::{Scratch, odd, script};

/// A script that the test can change.
pub struct Script(pub PathBuf);

impl Script {
    pub fn new(dir: &Scratch) -> Self {
        let script = Self(dir.path().join("worker.py"));
        fs::copy(self::script("odd.py"), &script.0).unwrap();
        script
    }

    /// A pool of workers that run it.
    pub fn pool(&self, workers: usize) -> PoolBuilder {
        odd(workers).worker_script(&self.0)
    }

    /// Workers that are started from now on run this first.
    pub fn begin_with(&self, line: &str) {
        let rest = fs::read_to_string(script("odd.py")).unwrap();
        fs::write(&self.0, format!("{line}\n{rest}")).unwrap();
    }

    /// Workers that are started from now on create one file, and go on when there is the other.
    pub fn wait_at(&self, mark: &Path, gate: &Path) {
        let wait = "open(mark, 'w').close()\nwhile not os.path.exists(gate): time.sleep(0.001)";
        self.begin_with(&format!(
            "import os, time\nmark, gate = {mark:?}, {gate:?}\n{wait}"
        ));
    }
}

pub fn reload(pool: &Pool, grace: Duration) -> JoinHandle<Result<ReloadReport, Error>> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.reload(grace).await })
}

pub async fn pid(pool: &Pool) -> Result<u32, Error> {
    pool.call("pid", &()).await
}

pub fn kill(pid: u32) {
    signal(pid, "-KILL");
}

pub fn signal(pid: u32, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// How many processes run the script.
pub fn processes_of(script: &Script) -> usize {
    let output = Command::new("ps")
        .args(["-eo", "stat=,args="])
        .output()
        .unwrap();
    let name = script.0.to_str().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.ends_with(name) && !line.starts_with('Z'))
        .count()
}
