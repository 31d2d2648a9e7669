//! Where processes run and what they use; the figures come from `/proc` and are zero where
//! there is none.

use std::{fs, time::Duration};

/// Puts this thread and the other process on a core each. Left alone, the system now and then puts
/// both on one, where a sequential call costs a quarter: two different measurements.
#[cfg(target_os = "linux")]
pub(crate) fn place_apart(other: u32) -> anyhow::Result<()> {
    use rustix::thread::{CpuSet, Pid, sched_setaffinity};

    let core = |number: usize| {
        let mut set = CpuSet::new();
        set.set(number);
        set
    };
    sched_setaffinity(None, &core(0))?;
    sched_setaffinity(Pid::from_raw(other as i32), &core(1))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn place_apart(_other: u32) -> anyhow::Result<()> {
    Ok(())
}

/// Processor time that a process has used.
#[derive(Clone, Copy)]
pub(crate) struct Usage(Duration);

impl Usage {
    pub(crate) fn of(pid: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        let nanoseconds = |thread: fs::DirEntry| {
            let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            schedstat.split(' ').next()?.parse::<u64>().ok()
        };
        Self(Duration::from_nanos(
            threads.flatten().filter_map(nanoseconds).sum(),
        ))
    }

    pub(crate) fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

pub(crate) fn own_usage() -> Usage {
    Usage::of(std::process::id())
}

/// Resident memory in KiB.
pub(crate) fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .unwrap_or_default()
}
