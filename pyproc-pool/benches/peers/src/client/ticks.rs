//! Says when calls are due, to the microsecond: tokio's own timer knows milliseconds only.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub(crate) struct Ticks {
    clock: Clock,
    start: Instant,
    interval: Duration,
    passed: u32,
}

impl Ticks {
    pub(crate) fn start(per_second: u32) -> Result<Self> {
        let interval = Duration::from_secs(1)
            .checked_div(per_second)
            .context("a rate of 0")?;
        Ok(Self {
            // Before the clock starts, so that no tick is seen before it is due.
            start: Instant::now(),
            clock: Clock::start(interval)?,
            interval,
            passed: 0,
        })
    }

    /// Waits for the next tick, and returns the times of all that have passed since the last call.
    pub(crate) async fn next(&mut self) -> Result<impl Iterator<Item = Instant> + use<>> {
        let new = self.clock.ticks().await?;
        let (start, interval, first) = (self.start, self.interval, self.passed + 1);
        self.passed += new;
        Ok((first..first + new).map(move |tick| start + interval * tick))
    }
}

#[cfg(target_os = "linux")]
struct Clock(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Clock {
    fn start(interval: Duration) -> Result<Self> {
        use rustix::time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
            timerfd_settime,
        };

        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let interval = interval.try_into().context("too slow a rate")?;
        let every = Itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
        // `register` is unsafe because a descriptor might be closed while it is registered; this
        // one is owned by what registers it.
        #[expect(deprecated)]
        let timer = tokio::io::unix::AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Cancellation safe: either the ticks are taken and returned, or neither.
    async fn ticks(&mut self) -> Result<u32> {
        let read = |timer: &std::os::fd::OwnedFd| {
            let mut expirations = [0; 8];
            rustix::io::read(timer, &mut expirations)?;
            Ok(u64::from_ne_bytes(expirations))
        };
        let ticks = self.0.async_io(tokio::io::Interest::READABLE, read).await?;
        Ok(u32::try_from(ticks)?)
    }
}

#[cfg(not(target_os = "linux"))]
struct Clock(tokio::time::Interval);

#[cfg(not(target_os = "linux"))]
impl Clock {
    fn start(interval: Duration) -> Result<Self> {
        let first = tokio::time::Instant::now() + interval;
        Ok(Self(tokio::time::interval_at(first, interval)))
    }

    async fn ticks(&mut self) -> Result<u32> {
        self.0.tick().await;
        Ok(1)
    }
}
