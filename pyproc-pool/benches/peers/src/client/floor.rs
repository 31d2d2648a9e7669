//! The least that a round trip between two processes can cost: the bytes of a call, sent to and
//! fro over a Unix socket with no protocol, both sides asleep in between or both asking
//! again and again.

use std::{
    env,
    io::{ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use crate::{
    latencies::Latencies,
    plan::{Placement, Session, Step},
    process::{Sample, place_apart},
    row::Row,
};
use anyhow::{Context, Result, bail, ensure};
use rustix::thread::sched_yield;

/// As many bytes as the frame of `predict({"value": 42})`.
const MESSAGE: [u8; 52] = [b'x'; 52];

pub(crate) fn measure(session: &Session, spin: bool) -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("floor.sock");
    let listener = UnixListener::bind(&path)?;
    let other = Other::start(&path, spin)?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nonblocking(spin)?;
    let others = [other.0.id()];
    if session.placement == Placement::Apart {
        place_apart(&others)?;
    }
    let mut rows = Vec::new();
    for step in &session.steps {
        ping(&mut stream, Duration::from_millis(50))?;
        let before = Sample::take(&others);
        let begin = Instant::now();
        let latencies = match *step {
            Step::ClosedLoop {
                in_flight: 1,
                seconds,
            } => ping(&mut stream, Duration::from_secs_f64(seconds)),
            Step::FixedRate {
                per_second,
                seconds,
            } => ping_at_fixed_rate(&mut stream, per_second, seconds),
            _ => bail!("a floor has one call at a time"),
        }?;
        let mut row = Row::new(session, *step);
        row.set_latencies(&latencies, begin.elapsed());
        row.set_usage(&before, &Sample::take(&others), row.calls as f64);
        rows.push(row);
    }
    Ok(rows)
}

fn ping(stream: &mut UnixStream, time: Duration) -> Result<Latencies> {
    let end = Instant::now() + time;
    let mut latencies = Latencies::default();
    let mut sent = Instant::now();
    while sent < end {
        round_trip(stream)?;
        let answered = Instant::now();
        latencies.add(answered - sent);
        sent = answered;
    }
    Ok(latencies)
}

fn ping_at_fixed_rate(stream: &mut UnixStream, per_second: u32, seconds: f64) -> Result<Latencies> {
    wake_in_time()?;
    let start = Instant::now();
    let mut latencies = Latencies::default();
    for call in 1..=(f64::from(per_second) * seconds) as u32 {
        let due = start + Duration::from_secs(1) * call / per_second;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        round_trip(stream)?;
        latencies.add(due.elapsed());
    }
    Ok(latencies)
}

/// The system may let a sleeping thread oversleep by 50 µs, to save power.
#[cfg(target_os = "linux")]
fn wake_in_time() -> Result<()> {
    Ok(rustix::thread::set_current_timer_slack(
        std::num::NonZeroU64::new(1),
    )?)
}

#[cfg(not(target_os = "linux"))]
fn wake_in_time() -> Result<()> {
    Ok(())
}

fn round_trip(stream: &mut UnixStream) -> Result<()> {
    stream.write_all(&MESSAGE)?;
    ensure!(
        read(stream, &mut [0; MESSAGE.len()])?,
        "the other process is gone"
    );
    Ok(())
}

/// The other process: sends back what it gets.
pub(crate) fn pong(path: &Path, spin: bool) -> Result<()> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_nonblocking(spin)?;
    let mut buffer = MESSAGE;
    while read(&mut stream, &mut buffer)? {
        stream.write_all(&buffer)?;
    }
    Ok(())
}

/// One message, or `false` when there will be none.
fn read(stream: &mut UnixStream, buffer: &mut [u8]) -> Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(false),
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => sched_yield(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

struct Other(Child);

impl Other {
    fn start(path: &Path, spin: bool) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("pong").arg(path);
        if spin {
            command.arg("--spin");
        }
        let child = command.spawn().context("cannot start the other process")?;
        Ok(Self(child))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
