//! What this process has of the system: children, threads and descriptors. Read from `/proc`; elsewhere it is empty.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Threads and reaped processes may take this long to disappear.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inventory(BTreeMap<&'static str, usize>);

impl Inventory {
    pub(crate) fn take() -> Result<Self> {
        let mut counts = BTreeMap::new();
        if Path::new("/proc/self/task").exists() {
            counts.insert("threads", fs::read_dir("/proc/self/task")?.count());
            counts.insert("descriptors", fs::read_dir("/proc/self/fd")?.count());
            counts.insert("children", children());
        }
        Ok(Self(counts))
    }

    /// What there is now beyond this, once it has had time to go.
    pub(crate) fn grown(&self) -> Result<BTreeMap<&'static str, usize>> {
        let begin = Instant::now();
        loop {
            let now = Self::take()?;
            let beyond = now
                .0
                .into_iter()
                .filter(|(what, count)| *count > self.0[what]);
            let grown: BTreeMap<_, _> = beyond
                .map(|(what, count)| (what, count - self.0[what]))
                .collect();
            if grown.is_empty() || begin.elapsed() > PATIENCE {
                return Ok(grown);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Processes whose parent this one is, dead or alive.
fn children() -> usize {
    let own = std::process::id().to_string();
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let is_child = |stat: String| {
        // The name in parentheses may contain anything; after it come state and parent.
        let after = stat.rsplit_once(')').map(|(_, after)| after.to_owned());
        after.is_some_and(|it| it.split_whitespace().nth(1) == Some(&own))
    };
    processes
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| is_child(stat.clone()))
        .count()
}
