//! Where processes run and what they use; the figures come from `/proc` and are zero where
//! there is none.

use std::{collections::BTreeMap, fs, time::Duration};

/// What client and workers have used so far.
#[derive(Debug)]
pub struct Sample {
    pub(crate) client_cpu: Duration,
    pub(crate) worker_cpu: Duration,
    pub(crate) client_memory: Memory,
    pub(crate) worker_rss_kib: u64,
}

impl Sample {
    /// Of this process, and of those with the ids `workers`.
    pub fn take(workers: &[u32]) -> Self {
        let own = std::process::id();
        Self {
            client_cpu: cpu(own),
            worker_cpu: workers.iter().copied().map(cpu).sum(),
            client_memory: memory(own),
            worker_rss_kib: workers.iter().map(|pid| memory(*pid).rss_kib).sum(),
        }
    }
}

/// Resident memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// All of it.
    pub rss_kib: u64,
    /// What does not come from files.
    pub heap_kib: u64,
}

/// Resident memory of a process.
pub fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
            .unwrap_or_default()
    };
    Memory {
        rss_kib: field("VmRSS:"),
        heap_kib: field("RssAnon:"),
    }
}

/// Processor time of a process's present threads.
fn cpu(pid: u32) -> Duration {
    let nanoseconds = |thread: u32| {
        let schedstat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads(pid).into_iter().filter_map(nanoseconds).sum())
}

fn threads(pid: u32) -> Vec<u32> {
    numbers_in(&format!("/proc/{pid}/task"))
}

fn numbers_in(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A process and all that descend from it.
pub fn family(ancestor: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in numbers_in("/proc") {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        family.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    family
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Puts this process on one core and the others on another. Left alone, the system now and then
/// puts both on one, where a sequential call costs a quarter: two different measurements.
#[cfg(target_os = "linux")]
pub fn place_apart(others: &[u32]) -> anyhow::Result<()> {
    pin(std::process::id(), 0)?;
    others.iter().try_for_each(|pid| pin(*pid, 1))
}

/// Processes cannot be placed on this system.
#[cfg(not(target_os = "linux"))]
pub fn place_apart(_others: &[u32]) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn pin(pid: u32, core: usize) -> anyhow::Result<()> {
    use rustix::{
        io::Errno,
        thread::{CpuSet, Pid, sched_setaffinity},
    };

    let mut set = CpuSet::new();
    set.set(core);
    for thread in threads(pid) {
        match sched_setaffinity(Pid::from_raw(thread.cast_signed()), &set) {
            // The thread has ended.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_family_is_a_process_and_its_descendants() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let family = family(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(family[0], std::process::id());
        assert!(family.contains(&child.id()), "{family:?}");
    }

    #[test]
    fn a_sample_sees_memory_and_processor_time() {
        let sample = Sample::take(&[std::process::id()]);
        assert!(sample.client_memory.rss_kib >= sample.client_memory.heap_kib);
        assert!(sample.client_memory.heap_kib > 0);
        assert!(sample.worker_rss_kib > 0);
        assert!(sample.client_cpu > Duration::ZERO);
    }
}
