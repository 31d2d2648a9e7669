//! What the tests of the pool share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    env, fs,
    future::Future,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use pyproc_pool::{Error, Pool, PoolBuilder, WorkerOutput};
use serde_json::Value;

/// Long enough for the slowest machine; a test that waits this long fails.
pub const LONG: Duration = Duration::from_secs(60);

/// The Python to test with; `cargo xtask test` names one with the package installed.
pub fn python() -> PathBuf {
    env::var_os("PYPROC_PYTHON_EXEC").map_or_else(|| "python3".into(), PathBuf::from)
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/workers")
        .join(name)
}

/// A pool of workers that misbehave on demand.
pub fn odd(workers: usize) -> PoolBuilder {
    builder("odd.py").workers(workers)
}

/// The loops of our worker to test with, such as `python,native` in `PYPROC_TEST_CORES`; `cargo xtask test` sets it.
pub fn cores() -> Vec<String> {
    let cores = env::var("PYPROC_TEST_CORES").unwrap_or_else(|_| "python".into());
    cores.split(',').map(str::to_owned).collect()
}

/// A worker of ours with this loop.
pub fn ours(name: &str, core: &str) -> PoolBuilder {
    let builder = builder(name).workers(1).env("PYPROC_WORKER_CORE", core);
    match env::var_os("PYPROC_PYTHON_EXEC") {
        Some(_) => builder,
        // A plain `cargo test`: the sources do, as the package needs no build.
        None => {
            let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../pyproc-py/python");
            builder.env("PYTHONPATH", sources)
        }
    }
}

pub fn builder(name: &str) -> PoolBuilder {
    Pool::builder()
        .python_exec(python())
        .worker_script(script(name))
        .output(WorkerOutput::Discard)
        .start_timeout(LONG)
        .request_timeout(LONG)
}

/// An empty directory with a short path, removed on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        // The temporary directory of macOS is too long for a socket.
        let dir = Path::new("/tmp").join(format!("pp-{:x}", fastrand::u64(..)));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).unwrap().next().is_none()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with the test, however that ends.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command`, whose last argument is this test binary, as the service that `test` is. Returns the process, and the
/// JSON of the lines that it prints after `mark`.
pub fn service(
    command: &mut Command,
    test: &str,
    mark: &'static str,
) -> (Killed, impl Iterator<Item = Value>) {
    let mut service = Killed(
        command
            .args(["--exact", test, "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let lines = BufReader::new(service.0.stdout.take().unwrap()).lines();
    let printed = lines
        .map_while(Result::ok)
        .filter_map(move |line| serde_json::from_str(line.strip_prefix(mark)?).ok());
    (service, printed)
}

/// Waits until `condition` holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LONG, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Whether the process runs; one that is dead but not yet collected does not.
pub fn is_alive(pid: u32) -> bool {
    let output = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

pub async fn echoes(pool: &Pool) {
    let input = serde_json::json!({"text": "hello"});
    let output: Value = pool.call("echo", &input).await.unwrap();
    assert_eq!(output, input);
}

pub fn pids(pool: &Pool) -> Vec<u32> {
    pool.health()
        .workers
        .iter()
        .filter_map(|worker| worker.pid)
        .collect()
}

/// Ends the pool and asserts that it leaves nothing behind: no process, no socket, no
/// task of its runtime.
pub async fn leaves_nothing(pool: Pool, sockets: &Scratch, all_pids: &[u32]) {
    pool.shutdown(Duration::ZERO).await;
    drop(pool);
    for pid in all_pids {
        assert!(!is_alive(*pid), "process {pid} was left behind");
    }
    nothing_is_left(sockets).await;
}

/// No socket, and no task of this runtime.
pub async fn nothing_is_left(sockets: &Scratch) {
    assert!(
        sockets.is_empty(),
        "something was left in the socket directory"
    );
    until("all tasks have ended", || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
            == 0
    })
    .await;
}

/// A call that a worker keeps until the file exists.
pub fn held(pool: &Pool, file: &std::path::Path) -> tokio::task::JoinHandle<Result<String, Error>> {
    let (pool, file) = (pool.clone(), file.to_owned());
    tokio::spawn(async move { pool.call("wait_for_file", &file).await })
}

pub fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
