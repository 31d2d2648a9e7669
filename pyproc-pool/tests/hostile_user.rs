//! Another user of the same machine can neither stop a pool, nor make it delete, answer or print anything.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/stranger.rs"]
mod stranger;
mod support;

use std::{
    env,
    fs::{self, DirBuilder, File, Permissions},
    io::{ErrorKind, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use pyproc_pool::{Error, Pool, StartFailureCause as Cause};
use stranger::{STRANGER, as_stranger, there_are_strangers};
use support::{Killed, Scratch, cores, echoes, odd, python, script, until};

/// Names as a pool gives them.
const DEAD: &str = "pyproc-1-0123abcd";
const HALF_MADE: &str = "pyproc-1-0123abcd.new";

/// A directory in which everybody may make files, such as `/tmp`.
fn shared(mode: u32) -> Scratch {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), Permissions::from_mode(mode)).unwrap();
    scratch
}

fn sticky() -> Scratch {
    shared(0o1777)
}

/// What a pool leaves that was killed.
fn leavings(path: &Path) {
    DirBuilder::new().mode(0o700).create(path).unwrap();
    File::create(path.join("lock")).unwrap();
    drop(UnixListener::bind(path.join("worker-0.1.sock")).unwrap());
}

/// Whether a pool starts there and serves.
async fn serves(parent: &Scratch) -> Pool {
    let pool = odd(1).socket_dir(parent.path()).start().await.unwrap();
    echoes(&pool).await;
    pool
}

fn names(path: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}

/// The directory of the only pool.
fn socket_dir(parent: &Scratch) -> PathBuf {
    let all = names(parent.path());
    let [dir] = all.as_slice() else {
        panic!("{all:?}");
    };
    dir.clone()
}

#[tokio::test]
async fn a_strangers_directory_is_not_swept_though_it_looks_like_ours() {
    if !there_are_strangers() {
        return;
    }
    let parent = sticky();
    let (dead, half_made) = (parent.path().join(DEAD), parent.path().join(HALF_MADE));
    as_stranger(|| {
        leavings(&dead);
        DirBuilder::new().mode(0o700).create(&half_made).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
        File::open(&half_made)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    });
    drop(serves(&parent).await);
    assert_eq!(fs::metadata(&dead).unwrap().uid(), STRANGER);
    assert!(half_made.exists() && names(&dead).len() == 2);
}

#[tokio::test]
async fn a_strangers_named_pipe_stops_no_start() {
    if !there_are_strangers() {
        return;
    }
    let parent = sticky();
    let dir = parent.path().join(DEAD);
    as_stranger(|| DirBuilder::new().mode(0o777).create(&dir).unwrap());
    let pipe = Command::new("mkfifo")
        .arg(dir.join("lock"))
        .status()
        .unwrap();
    assert!(pipe.success());
    rustix::fs::chown(
        dir.join("lock"),
        Some(rustix::process::Uid::from_raw(STRANGER)),
        None,
    )
    .unwrap();
    drop(serves(&parent).await);
    assert!(dir.join("lock").exists());
}

#[tokio::test]
async fn a_strangers_links_lead_to_no_deletion() {
    if !there_are_strangers() {
        return;
    }
    let (parent, private) = (sticky(), Scratch::new());
    let victim = private.path().join(DEAD);
    leavings(&victim);
    let linked = parent.path().join("pyproc-2-0123abcd");
    as_stranger(|| {
        symlink(&victim, parent.path().join(DEAD)).unwrap();
        DirBuilder::new().mode(0o700).create(&linked).unwrap();
        symlink(victim.join("lock"), linked.join("lock")).unwrap();
        symlink(&victim, linked.join("worker-0.1.sock")).unwrap();
    });
    drop(serves(&parent).await);
    assert_eq!(names(&victim).len(), 2);
    assert_eq!(names(&linked).len(), 2);
}

/// Sets it, also when a test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Directories in the parent change their places while pools start: what is opened is what is swept.
#[test]
fn a_race_of_links_and_directories_leads_to_no_deletion() {
    if !there_are_strangers() {
        return;
    }
    let (parent, private) = (shared(0o777), Scratch::new());
    let victim = private.path().join("victim");
    leavings(&victim);
    fs::write(victim.join("model.bin"), "weights").unwrap();
    let (name, aside) = (parent.path().join(DEAD), parent.path().join("aside"));
    let over = AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            as_stranger(|| {
                while !over.load(Ordering::Relaxed) {
                    // Whatever is there at this moment.
                    let _ = fs::rename(&name, &aside);
                    let _ = symlink(&victim, &name);
                    let _ = fs::remove_file(&name);
                    let _ = fs::rename(&aside, &name);
                }
            });
        });
        let _over = OnDrop(&over);
        for _ in 0..50 {
            if !name.exists() && !aside.exists() {
                let fresh = parent.path().join("fresh");
                leavings(&fresh);
                let _ = fs::rename(&fresh, &name);
                let _ = fs::remove_dir_all(&fresh);
            }
            let builder = odd(1).python_exec("/no/such/python");
            let start = builder.socket_dir(parent.path()).start();
            assert!(runtime.block_on(start).is_err());
        }
    });
    assert_eq!(names(&victim).len(), 3);
}

#[tokio::test]
async fn a_stranger_neither_enters_nor_moves_the_sockets() {
    if !there_are_strangers() {
        return;
    }
    let parent = sticky();
    let pool = serves(&parent).await;
    let dir = socket_dir(&parent);
    let socket = dir.join("worker-0.1.sock");
    assert!(socket.exists());
    as_stranger(|| {
        let denied = [
            fs::read_dir(&dir).map(drop),
            UnixStream::connect(&socket).map(drop),
            File::open(dir.join("lock")).map(drop),
            File::create(dir.join("model.bin")).map(drop),
            fs::remove_file(&socket),
            fs::rename(&dir, parent.path().join("mine")),
            fs::remove_dir_all(&dir),
        ];
        for result in denied {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    });
    echoes(&pool).await;
}

/// In a directory that everybody may write to, and that is not sticky, a stranger can take the place of ours.
#[tokio::test]
async fn a_stranger_that_listens_in_place_of_a_worker_gets_not_even_a_hello() {
    if !there_are_strangers() {
        return;
    }
    let parent = shared(0o777);
    let start = odd(1).args(["mute"]).socket_dir(parent.path()).start();
    let start = tokio::spawn(start);
    until("the directory is there", || {
        names(parent.path())
            .iter()
            .any(|it| it.extension().is_none())
    })
    .await;
    let dir = socket_dir(&parent);
    let listener = as_stranger(|| {
        fs::rename(&dir, parent.path().join("aside")).unwrap();
        DirBuilder::new().mode(0o755).create(&dir).unwrap();
        let socket = dir.join("worker-0.1.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
        listener
    });
    let failure = match start.await.unwrap() {
        Err(Error::StartFailed(failure)) => failure,
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(failure.cause, Cause::ForeignPeer { uid: STRANGER, .. }),
        "{failure}"
    );
    let mut printed = Vec::new();
    let (mut pool, _) = listener.accept().unwrap();
    pool.read_to_end(&mut printed).unwrap();
    assert!(printed.is_empty(), "{printed:?}");
    // The pool removes its own only.
    assert!(dir.join("worker-0.1.sock").exists());
}

/// An external worker.
async fn sidecar(socket: &Path, core: &str, mode: &str, allowed: &str) -> Killed {
    let mut worker = Command::new(python());
    worker
        .arg(script("cores.py"))
        .env("PYPROC_WORKER_CORE", core)
        .env("PYPROC_SOCKET_PATH", socket)
        .env("PYPROC_SOCKET_MODE", mode)
        .env("PYPROC_ALLOWED_UIDS", allowed);
    if env::var_os("PYPROC_PYTHON_EXEC").is_none() {
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../pyproc-py/python");
        worker.env("PYTHONPATH", sources);
    }
    let worker = Killed(worker.stderr(Stdio::null()).spawn().unwrap());
    until("it listens", || UnixStream::connect(socket).is_ok()).await;
    worker
}

/// What a sidecar answers a stranger whom the socket's mode lets connect.
async fn answer_to_stranger(core: &str, allowed: &str) -> Vec<u8> {
    let parent = shared(0o777);
    let socket = parent.path().join("worker.sock");
    let _worker = sidecar(&socket, core, "0666", allowed).await;
    as_stranger(|| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let mut answer = vec![0; 500];
        let request = br#"{"id":1,"method":"health","body":null}"#;
        let frame = [&(request.len() as u32).to_be_bytes()[..], request].concat();
        // It may have closed the connection by now, and sent the reason.
        let _ = stream.write_all(&frame);
        let size = stream.read(&mut answer).unwrap();
        answer.truncate(size);
        answer
    })
}

#[tokio::test]
async fn a_stranger_is_served_by_a_worker_that_allows_it_and_by_no_other() {
    if !there_are_strangers() {
        return;
    }
    for core in cores() {
        let answer = answer_to_stranger(&core, "").await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("may not connect"), "{core}: {text}");
        let answer = answer_to_stranger(&core, &STRANGER.to_string()).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("healthy"), "{core}: {text}");
    }
}

/// The error of a stranger's pool.
fn error_of_strangers_pool(socket: &Path) -> String {
    as_stranger(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let pool = Pool::builder().external_sockets([socket]).start();
        format!("{:?}", runtime.block_on(pool).unwrap_err())
    })
}

#[tokio::test]
async fn the_error_of_a_strangers_pool_names_the_setting_of_the_sidecar() {
    if !there_are_strangers() {
        return;
    }
    for core in cores() {
        for (mode, setting) in [
            (
                "0666",
                "the worker ended the connection: user 65534 may not connect: the worker's PYPROC_ALLOWED_UIDS",
            ),
            ("0600", "PYPROC_SOCKET_MODE"),
        ] {
            let parent = shared(0o777);
            let socket = parent.path().join("worker.sock");
            let _worker = sidecar(&socket, &core, mode, "").await;
            let error = error_of_strangers_pool(&socket);
            assert!(error.contains(setting), "{core}: {error}");
        }
    }
}
