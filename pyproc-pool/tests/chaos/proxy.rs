//! A proxy before a worker that tears, delays, repeats and corrupts what passes.
//!
//! What it corrupts is a frame's kind, so that the pool must see it: nothing on the wire protects a body's bytes.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Result;
use fastrand::Rng;
use pyproc_pool::{Pool, WorkerOutput};
use tokio::time::sleep;

use crate::{
    callers::Callers,
    campaign::{Round, quick_restarts},
    support::{Killed, LONG, Scratch, python, script, until},
};

const LENGTH: Duration = Duration::from_secs(3);
const LARGEST: usize = 10 << 20;
/// The kind of no frame of version 2.
const UNKNOWN_KIND: u8 = 0x1f;

pub(crate) async fn run(round: &mut Round) -> Result<()> {
    let scratch = Scratch::new();
    let (behind, before) = (scratch.path().join("worker"), scratch.path().join("proxy"));
    let worker = Command::new(python())
        .arg(script("chaos.py"))
        .env("PYPROC_SOCKET_PATH", &behind)
        .env("PYPROC_WORKER_CORE", &round.core)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Killed)?;
    until("the worker listens", || {
        UnixStream::connect(&behind).is_ok()
    })
    .await;
    let proxy = Proxy::start(&before, behind, round.rng.fork())?;
    let pool = Pool::builder()
        .external_sockets([&before])
        .output(WorkerOutput::Discard)
        .start_timeout(LONG)
        .restart(quick_restarts())
        .start()
        .await?;
    let callers = Callers::start(16, 0, &pool, &round.tally, &mut round.rng);
    sleep(LENGTH).await;
    callers.finish().await?;
    pool.shutdown(LONG).await;
    drop(pool);
    drop(worker);
    proxy.end(&before);
    round.tally.count("faulty transport");
    Ok(())
}

struct Proxy(thread::JoinHandle<()>);

impl Proxy {
    fn start(socket: &Path, worker: PathBuf, mut rng: Rng) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let serve = move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(worker) = UnixStream::connect(&worker) else {
                    return;
                };
                if pass_on(client, worker, &mut rng).is_err() {
                    return;
                }
            }
        };
        Ok(Self(thread::spawn(serve)))
    }

    /// One more client ends it, as its worker is gone by now.
    fn end(self, socket: &Path) {
        let _ = UnixStream::connect(socket);
        let _ = self.0.join();
    }
}

/// Passes the bytes of one connection on, both ways, until either end closes or a fault closes it.
fn pass_on(client: UnixStream, worker: UnixStream, rng: &mut Rng) -> io::Result<()> {
    let (requests, answers) = (Faults::new(rng, false), Faults::new(rng, true));
    let (from_client, to_worker) = (client.try_clone()?, worker.try_clone()?);
    let there = thread::spawn(move || pump(from_client, to_worker, requests));
    pump(worker, client, answers);
    let _ = there.join();
    Ok(())
}

/// What happens to the frames of one direction.
struct Faults {
    rng: Rng,
    /// Whether frames are repeated and corrupted, too; both end the connection.
    breaks: bool,
}

impl Faults {
    fn new(rng: &mut Rng, breaks: bool) -> Self {
        Self {
            rng: rng.fork(),
            breaks,
        }
    }
}

fn pump(mut from: UnixStream, mut to: UnixStream, mut faults: Faults) {
    // The handshake passes, or no call is ever made.
    let mut passed = 0;
    while let Ok(frame) = read_frame(&mut from) {
        passed += 1;
        if send(&mut to, frame, passed > 1, &mut faults).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn read_frame(from: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    let length = u32::from_be_bytes(prefix) as usize;
    if length > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = prefix.to_vec();
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn send(
    to: &mut UnixStream,
    mut frame: Vec<u8>,
    may_break: bool,
    faults: &mut Faults,
) -> io::Result<()> {
    let rng = &mut faults.rng;
    let fault = rng.u16(..4000);
    if fault < 40 {
        thread::sleep(Duration::from_micros(rng.u64(..2000)));
    }
    if may_break && faults.breaks {
        match fault {
            100 => frame.extend_from_within(..),
            101 if frame.len() > 4 => frame[4] = UNKNOWN_KIND,
            102 => {
                to.write_all(&frame[..frame.len() / 2])?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            _ => {}
        }
    }
    if fault.is_multiple_of(20) {
        return torn(to, &frame, rng);
    }
    to.write_all(&frame)
}

/// In pieces, each of which may arrive alone.
fn torn(to: &mut UnixStream, mut frame: &[u8], rng: &mut Rng) -> io::Result<()> {
    while !frame.is_empty() {
        let (piece, rest) = frame.split_at(rng.usize(1..=frame.len()));
        to.write_all(piece)?;
        frame = rest;
        thread::yield_now();
    }
    Ok(())
}
