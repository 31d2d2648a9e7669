//! Waiting until something has happened.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Server;
use super::spin::Spin;
use crate::state::Place;

/// What has happened.
#[derive(Default)]
pub(super) struct Happened {
    pub(super) anything: bool,
    pub(super) accept: bool,
    pub(super) signal: bool,
    pub(super) wake: bool,
    pub(super) connections: Vec<(Place, PollFlags)>,
}

impl Server<'_, '_> {
    /// How long to wait for something to happen; `None` without end.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let mut state = self.core.lock();
        if state.draining && !state.has_concurrent() {
            return Some(
                self.flush_deadline
                    .saturating_duration_since(Instant::now()),
            );
        }
        (self.deaf || self.parent_pid.is_some()).then_some(self.core.limits.idle_check)
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> PyResult<Happened> {
        let listens = !self.deaf && !self.core.lock().draining;
        let fixed = [
            PollFd::new(&self.termination_fd, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(
                &self.listener,
                if listens {
                    PollFlags::IN
                } else {
                    PollFlags::empty()
                },
            ),
        ];
        let timeout = match self.let_greenlets_run(listens, timeout) {
            Ok(timeout) => timeout,
            Err(error) => {
                self.outlive(Err(error))?;
                Some(Duration::ZERO)
            }
        };
        let connections = self.connections.iter();
        let connections = connections.map(|one| PollFd::new(&*one.socket, one.interest));
        let mut fds: Vec<PollFd<'_>> = fixed.into_iter().chain(connections).collect();
        wait_for(self.py, &mut self.spin, &mut fds, timeout)?;
        let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        Ok(self.happened(&events))
    }

    /// If threads are greenlets, waits while these run. Returns how long to wait now.
    fn let_greenlets_run(
        &self,
        listens: bool,
        timeout: Option<Duration>,
    ) -> PyResult<Option<Duration>> {
        let Some(wait) = &self.wait_with_greenlets else {
            return Ok(timeout);
        };
        if timeout == Some(Duration::ZERO) {
            return Ok(timeout);
        }
        let mut interests: Vec<(i32, u16)> = vec![
            (self.termination_fd.as_raw_fd(), PollFlags::IN.bits()),
            (self.wake.as_raw_fd(), PollFlags::IN.bits()),
        ];
        if listens {
            interests.push((self.listener.as_raw_fd(), PollFlags::IN.bits()));
        }
        let connections = self.connections.iter();
        interests.extend(connections.map(|one| (one.socket.as_raw_fd(), one.interest.bits())));
        let milliseconds = timeout.map(|timeout| timeout.as_secs_f64() * 1000.0);
        wait.call1((interests, milliseconds))?;
        Ok(Some(Duration::ZERO))
    }

    pub(super) fn happened(&self, events: &[PollFlags]) -> Happened {
        let [signal, wake, accept, connections @ ..] = events else {
            return Happened::default();
        };
        let connections = self.connections.iter().zip(connections);
        let connections = connections.filter(|(_, events)| !events.is_empty());
        Happened {
            anything: events.iter().any(|events| !events.is_empty()),
            accept: !accept.is_empty(),
            signal: !signal.is_empty(),
            wake: !wake.is_empty(),
            connections: connections
                .map(|(one, events)| (one.place, *events))
                .collect(),
        }
    }
}

/// Waits until something has happened, without the interpreter lock if that may take a while. A
/// signal is a reason to return.
fn wait_for(
    py: Python<'_>,
    spin: &mut Spin,
    fds: &mut [PollFd<'_>],
    timeout: Option<Duration>,
) -> PyResult<()> {
    if timeout == Some(Duration::ZERO) {
        return polled(poll(fds, Some(&timespec(Duration::ZERO))));
    }
    let timeout = timeout.map(timespec);
    let result = py.detach(|| {
        let caught = spin.spin(|| poll(fds, Some(&timespec(Duration::ZERO))) != Ok(0));
        if caught {
            return Ok(1);
        }
        let result = poll(fds, timeout.as_ref());
        if result.is_ok_and(|count| count > 0) {
            spin.was_woken();
        }
        result
    });
    polled(result)
}

fn polled(result: rustix::io::Result<usize>) -> PyResult<()> {
    match result {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
