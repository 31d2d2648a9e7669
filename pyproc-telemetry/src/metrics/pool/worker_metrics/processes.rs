//! The processes of a slot: which run, and which have reported.

use std::collections::VecDeque;

/// Processes whose counts are kept separately: one that serves, one that drains after its replacement, and one that has
/// ended, as its last report may come late.
const MAX_PROCESSES: usize = 3;

#[derive(Default)]
pub(super) struct Processes {
    serving: Option<u32>,
    /// The replaced process, while it drains.
    leaving: Option<u32>,
    /// In the order of their first reports.
    reported: VecDeque<Process>,
}

struct Process {
    start: u64,
    pid: Option<u32>,
}

impl Processes {
    pub(super) fn begins(&mut self, pid: Option<u32>) {
        self.serving = pid;
    }

    pub(super) fn replaces(&mut self, pid: Option<u32>) {
        self.leaving = self.serving;
        self.serving = pid;
    }

    pub(super) fn ended(&mut self) {
        self.serving = None;
    }

    pub(super) fn replaced_ended(&mut self) {
        self.leaving = None;
    }

    /// The start of the serving process, if it has reported.
    pub(super) fn serving_since(&self) -> Option<u64> {
        let serving = |it: &&Process| it.pid.is_some() && it.pid == self.serving;
        self.reported.iter().rfind(serving).map(|it| it.start)
    }

    /// Notes a report. Beyond the limit, another process is forgotten; its start is returned.
    pub(super) fn report(&mut self, start: u64, pid: Option<u32>) -> Option<u64> {
        if self.reported.iter().any(|it| it.start == start) {
            return None;
        }
        self.reported.push_back(Process { start, pid });
        if self.reported.len() <= MAX_PROCESSES {
            return None;
        }
        let gone = self.reported.iter().position(|it| !self.runs(it));
        let forgotten = self.reported.remove(gone.unwrap_or(0))?;
        Some(forgotten.start)
    }

    fn runs(&self, process: &Process) -> bool {
        process.pid.is_some() && [self.serving, self.leaving].contains(&process.pid)
    }
}
