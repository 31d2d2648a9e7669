//! Processor time, and who runs where.

use std::fs;

#[cfg(target_os = "linux")]
pub(crate) fn thread_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// This thread on one processor and the workers on another, as a call takes twice as long when they share one or change places. The
/// threads of exporters go where they like.
#[cfg(target_os = "linux")]
pub(crate) fn place_apart(workers: &[u32]) {
    use rustix::{
        process::Pid,
        thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    };

    let all = sched_getaffinity(None).expect("processors");
    let there = (0..CpuSet::MAX_CPU).filter(|it| all.is_set(*it));
    let [first, second] = there.take(2).collect::<Vec<_>>()[..] else {
        return;
    };
    let only = |processor| {
        let mut set = CpuSet::new();
        set.set(processor);
        set
    };
    sched_setaffinity(None, &only(first)).expect("a processor");
    for worker in workers {
        let worker = i32::try_from(*worker).ok().and_then(Pid::from_raw);
        sched_setaffinity(worker, &only(second)).expect("a processor");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn place_apart(_workers: &[u32]) {}

/// Of all its threads that live.
#[cfg(target_os = "linux")]
pub(crate) fn process_cpu(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let times = threads.flatten().filter_map(|thread| {
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse::<f64>().ok()
    });
    times.sum()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn thread_cpu() -> f64 {
    f64::NAN
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn process_cpu(_pid: u32) -> f64 {
    f64::NAN
}
