//! The serving thread waits for events.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags};

use super::Server;
use super::polling::{ReadyEvents, wait_for};

impl Server<'_, '_> {
    /// How long to wait for events; `None` without a limit.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if !self.run_queue.is_empty() {
            return Some(Duration::ZERO);
        }
        let mut state = self.core.lock();
        if state.draining && !state.has_async_calls() {
            return Some(
                self.flush_deadline
                    .saturating_duration_since(Instant::now()),
            );
        }
        (self.accept_paused || self.parent_pid.is_some()).then_some(self.core.limits.idle_check)
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> PyResult<ReadyEvents> {
        let accepts = !self.accept_paused && !self.core.lock().draining;
        let fixed = [
            PollFd::new(&self.termination_fd, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(
                &self.listener,
                if accepts {
                    PollFlags::IN
                } else {
                    PollFlags::empty()
                },
            ),
        ];
        let timeout = match self.let_greenlets_run(accepts, timeout) {
            Ok(timeout) => timeout,
            Err(error) => {
                self.unless_fatal(Err(error))?;
                Some(Duration::ZERO)
            }
        };
        let sockets = self.sockets.iter();
        let sockets = sockets.map(|polled| PollFd::new(&*polled.socket, polled.interest));
        let mut fds: Vec<PollFd<'_>> = fixed.into_iter().chain(sockets).collect();
        wait_for(self.py, &mut self.spin, &mut fds, timeout)?;
        let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        Ok(ReadyEvents::of(&events, &self.sockets))
    }

    /// If gevent has made threads greenlets, waits while these run. Returns how much longer to wait.
    fn let_greenlets_run(
        &self,
        accepts: bool,
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
        if accepts {
            interests.push((self.listener.as_raw_fd(), PollFlags::IN.bits()));
        }
        let sockets = self.sockets.iter();
        interests.extend(sockets.map(|polled| (polled.socket.as_raw_fd(), polled.interest.bits())));
        let milliseconds = timeout.map(|timeout| timeout.as_secs_f64() * 1000.0);
        wait.call1((interests, milliseconds))?;
        Ok(Some(Duration::ZERO))
    }
}
