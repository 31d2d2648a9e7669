//! A wrapper as `python_exec` that runs Python as a child, as `uv run`, `conda run` and `nsys profile` do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use pyproc_pool::{Error, Pool, PoolBuilder};
use serde_json::Value;
use support::{LONG, Scratch, cores, is_alive, nothing_is_left, ours, python, service, until};

/// Python shares the wrapper's process group.
const SHELL: &str = "#!/bin/sh\n\"$PYTHON\" \"$@\"\nexit $?\n";

/// Python has a session, and so a process group, of its own.
const SESSION: &str = r#"#!/bin/sh
exec "$PYTHON" -c '
import subprocess, sys
command = [sys.executable, *sys.argv[1:]]
sys.exit(subprocess.run(command, start_new_session=True).returncode)
' "$@"
"#;

fn wrapper(scratch: &Scratch, text: &str) -> PathBuf {
    let path = scratch.path().join("wrapper");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn wrapped(wrapper: &Path, core: &str, sockets: &Path) -> PoolBuilder {
    ours("wrapped.py", core)
        .env("PYTHON", python().to_str().unwrap())
        .python_exec(wrapper)
        .socket_dir(sockets)
}

/// A pool of one worker behind a wrapper.
struct Wrapped {
    pool: Pool,
    scratch: Scratch,
    sockets: Scratch,
    /// Of Python and of its wrapper.
    pids: [u32; 2],
}

impl Wrapped {
    async fn start(text: &str, core: &str) -> Self {
        let (scratch, sockets) = (Scratch::new(), Scratch::new());
        let builder = wrapped(&wrapper(&scratch, text), core, sockets.path());
        let pool = builder.start().await.unwrap();
        let pids = pool.call("pids", &()).await.unwrap();
        Self {
            pool,
            scratch,
            sockets,
            pids,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Ends the pool, and returns how many workers it had to kill.
    async fn shutdown(&self, deadline: Duration) -> usize {
        let killed = self.pool.shutdown(deadline).await.killed;
        self.is_gone().await;
        killed
    }

    async fn is_gone(&self) {
        until("Python and its wrapper are gone", || {
            !self.pids.iter().any(|pid| is_alive(*pid))
        })
        .await;
        nothing_is_left(&self.sockets).await;
    }
}

async fn each(test: impl AsyncFn(Wrapped)) {
    for core in cores() {
        for text in [SHELL, SESSION] {
            test(Wrapped::start(text, &core).await).await;
        }
    }
}

#[tokio::test]
async fn a_worker_behind_a_wrapper_serves_under_its_own_process_id() {
    each(async |it| {
        let [python, wrapper] = it.pids;
        assert_ne!(python, wrapper);
        assert_eq!(it.pool.health().workers[0].pid, Some(python));
        it.shutdown(LONG).await;
    })
    .await;
}

#[tokio::test]
async fn it_ends_in_order() {
    each(async |it| {
        let mark = it.file("mark");
        let () = it.pool.call("note_the_end", &mark).await.unwrap();
        assert_eq!(it.shutdown(LONG).await, 0);
        assert!(mark.exists(), "Python was killed");
    })
    .await;
}

#[tokio::test]
async fn a_reload_ends_it_in_order() {
    each(async |it| {
        let mark = it.file("mark");
        let () = it.pool.call("note_the_end", &mark).await.unwrap();
        assert_eq!(it.pool.reload(LONG).await.unwrap().killed, 0);
        assert!(mark.exists(), "Python was killed");
        let [python, _]: [u32; 2] = it.pool.call("pids", &()).await.unwrap();
        assert_ne!(python, it.pids[0]);
        it.shutdown(LONG).await;
    })
    .await;
}

async fn hangs(it: &Wrapped) {
    let (pool, mark) = (it.pool.clone(), it.file("hangs"));
    let seen = mark.clone();
    tokio::spawn(async move { pool.call::<_, Value>("hang", &mark).await });
    until("the function runs", || seen.exists()).await;
}

#[tokio::test]
async fn one_that_hangs_is_killed_at_the_shutdown() {
    each(async |it| {
        hangs(&it).await;
        assert_eq!(it.shutdown(Duration::ZERO).await, 1);
    })
    .await;
}

#[tokio::test]
async fn its_death_is_explained_and_it_is_replaced() {
    for core in cores() {
        let it = Wrapped::start(SHELL, &core).await;
        let Err(Error::WorkerDied(death)) = it.pool.call::<_, Value>("kill", &()).await else {
            panic!("it lives");
        };
        let text = death.to_string();
        assert_eq!(death.pid, Some(it.pids[0]), "{text}");
        let [python, wrapper] = it.pids;
        assert_eq!(death.wrapper, Some(wrapper), "{text}");
        let ends = format!(
            "(pid {python}) died; its wrapper (pid {wrapper}) ended: exit status: 137 (as a shell reports signal 9)"
        );
        assert!(text.contains(&ends), "{text}");
        let _: [u32; 2] = it.pool.call("pids", &()).await.unwrap();
        it.shutdown(LONG).await;
    }
}

#[tokio::test]
async fn its_wrappers_death_ends_it() {
    each(async |it| {
        let [_, wrapper] = it.pids;
        let kill = Command::new("kill")
            .args(["-9", &wrapper.to_string()])
            .status();
        assert!(kill.unwrap().success());
        until("it is gone", || !is_alive(it.pids[0])).await;
        until("it is replaced", || it.pool.stats().restarts == 1).await;
        it.shutdown(LONG).await;
    })
    .await;
}

#[tokio::test]
async fn a_script_that_fails_is_reported_with_its_last_words() {
    for core in cores() {
        for text in [SHELL, SESSION] {
            let (scratch, sockets) = (Scratch::new(), Scratch::new());
            let builder = wrapped(&wrapper(&scratch, text), &core, sockets.path());
            let Err(error) = builder.args(["fail"]).start().await else {
                panic!("it started");
            };
            let error = error.to_string();
            assert!(
                error.contains("exit status: 1") && error.contains("no such model"),
                "{error}"
            );
            nothing_is_left(&sockets).await;
        }
    }
}

/// The service that is killed: this test binary once more.
#[tokio::test]
async fn service_for_the_test_below() {
    let Some(wrapper) = env::var_os("WRAPPED_WRAPPER").map(PathBuf::from) else {
        return;
    };
    let core = env::var("WRAPPED_CORE").unwrap();
    let sockets = wrapper.parent().unwrap().to_owned();
    let pool = wrapped(&wrapper, &core, &sockets).start().await.unwrap();
    let pids: [u32; 2] = pool.call("pids", &()).await.unwrap();
    println!("\npids: {pids:?}");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn it_does_not_outlive_a_service_that_is_killed() {
    for core in cores() {
        for text in [SHELL, SESSION] {
            let scratch = Scratch::new();
            let mut command = Command::new(env::current_exe().unwrap());
            command
                .env("WRAPPED_WRAPPER", wrapper(&scratch, text))
                .env("WRAPPED_CORE", &core);
            let (service, mut printed) =
                service(&mut command, "service_for_the_test_below", "pids: ");
            let pids: [u32; 2] = serde_json::from_value(printed.next().unwrap()).unwrap();
            drop(service);
            until("Python and its wrapper are gone", || {
                !pids.iter().any(|pid| is_alive(*pid))
            })
            .await;
        }
    }
}
