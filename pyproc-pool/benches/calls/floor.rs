//! The least that a round trip between two processes can cost: the bytes of a call, sent to and
//! fro over a Unix socket with blocking calls and no protocol.

use std::{
    env,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    load::Latencies,
    process::{Usage, own_usage, place_apart, rss_kib},
    report::Row,
};

pub(crate) const PEER: &str = "floor-uds-sleep";

/// As many bytes as the frame of `predict({"value": 42})`.
const MESSAGE: [u8; 52] = [b'x'; 52];

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn ping(time: Duration) -> Result<Row> {
    let path = env::temp_dir().join(format!("pp-floor-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path)?;
    let peer = Peer(
        Command::new(env::current_exe()?)
            .arg("--pong")
            .arg(&path)
            .spawn()?,
    );
    let (mut stream, _) = listener.accept()?;
    std::fs::remove_file(&path)?;

    place_apart(peer.0.id())?;
    let mut latencies = Latencies::default();
    let before = (own_usage(), Usage::of(peer.0.id()));
    let begin = Instant::now();
    let mut buffer = MESSAGE;
    while begin.elapsed() < time {
        let sent = Instant::now();
        stream.write_all(&MESSAGE)?;
        stream
            .read_exact(&mut buffer)
            .context("the other process is gone")?;
        latencies.add(sent.elapsed());
    }
    let elapsed = begin.elapsed();
    let mut row = latencies.into_row(PEER, "pingpong", 1, elapsed);
    row.set_cpu(
        before.0.until(own_usage()),
        before.1.until(Usage::of(peer.0.id())),
    );
    row.rss_client_kib = rss_kib(std::process::id());
    row.rss_worker_kib = rss_kib(peer.0.id());
    Ok(row)
}

/// The other process: sends back what it gets.
pub(crate) fn pong(path: &str) -> Result<()> {
    let mut stream = UnixStream::connect(path)?;
    let mut buffer = MESSAGE;
    while stream.read_exact(&mut buffer).is_ok() {
        stream.write_all(&buffer)?;
    }
    Ok(())
}
